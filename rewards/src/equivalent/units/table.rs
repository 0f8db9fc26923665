//! The table of units.
//!
//! Sizes are exact by definition: of the international yard and pound (1959), the litre and the
//! gallon of 231 cubic inches, the calorie of thermochemistry, the units of the SI brochure (2019).
//! Units that have several sizes in use (the ton, the horsepower, the month in days) are bases of
//! their own, which convert into nothing outside their kind.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::{Base, Dimension, Factor};

/// One unit. Symbols keep their case, names do not; names are singular.
struct Row {
    symbols: &'static str,
    /// Comma-separated; it is shown by its first symbol, or else by the first name.
    names: &'static str,
    /// Whether prefixes of the SI stand before its symbols and names.
    prefixed: bool,
    /// How many of the coherent unit it is.
    size: (u64, u64),
    /// Bases with their powers.
    dimension: &'static str,
}

const fn si(symbols: &'static str, names: &'static str, dimension: &'static str) -> Row {
    Row { symbols, names, prefixed: true, size: (1, 1), dimension }
}

const fn row(
    symbols: &'static str,
    names: &'static str,
    size: (u64, u64),
    dimension: &'static str,
) -> Row {
    Row { symbols, names, prefixed: false, size, dimension }
}

const TABLE: [Row; 101] = [
    // length
    si("m", "meter,metre", "m"),
    row("", "inch,in", (254, 10_000), "m"),
    row("", "foot,ft", (3048, 10_000), "m"),
    row("", "yard,yd", (9144, 10_000), "m"),
    row("", "mile,mi", (1_609_344, 1000), "m"),
    row("", "nautical mile,nmi", (1852, 1), "m"),
    row("", "furlong", (201_168, 1000), "m"),
    row("", "light year,ly", (9_460_730_472_580_800, 1), "m"),
    row("", "astronomical unit,au", (149_597_870_700, 1), "m"),
    row("Å", "angstrom", (1, 10_000_000_000), "m"),
    row("", "micron", (1, 1_000_000), "m"),
    // area
    row("ha", "hectare", (10_000, 1), "m 2"),
    row("", "acre", (40_468_564_224, 10_000_000), "m 2"),
    // volume
    Row { symbols: "L,l", names: "liter,litre", prefixed: true, size: (1, 1000), dimension: "m 3" },
    row("", "gallon,gal", (3_785_411_784, 1_000_000_000_000), "m 3"),
    row("", "quart,qt", (3_785_411_784, 4_000_000_000_000), "m 3"),
    row("", "pint,pt", (3_785_411_784, 8_000_000_000_000), "m 3"),
    row("", "cup", (3_785_411_784, 16_000_000_000_000), "m 3"),
    row("", "fluid ounce,fl oz", (3_785_411_784, 128_000_000_000_000), "m 3"),
    row("", "tablespoon,tbsp", (3_785_411_784, 256_000_000_000_000), "m 3"),
    row("", "teaspoon,tsp", (3_785_411_784, 768_000_000_000_000), "m 3"),
    row("", "bushel", (1, 1), "bushel"),
    row("", "barrel,bbl", (1, 1), "barrel"),
    // mass
    Row { symbols: "g", names: "gram,gramme", prefixed: true, size: (1, 1000), dimension: "kg" },
    row("t", "tonne,metric ton", (1000, 1), "kg"),
    row("", "pound,lb", (45_359_237, 100_000_000), "kg"),
    row("", "ounce,oz", (45_359_237, 1_600_000_000), "kg"),
    row("", "stone", (45_359_237 * 14, 100_000_000), "kg"),
    row("", "carat", (1, 5000), "kg"),
    row("", "ton", (1, 1), "ton"),
    // time
    si("s", "second,sec", "s"),
    row("", "min,minute", (60, 1), "s"),
    row("h", "hour,hr", (3600, 1), "s"),
    row("d", "day", (86_400, 1), "s"),
    row("", "week,wk", (604_800, 1), "s"),
    row("", "fortnight", (1_209_600, 1), "s"),
    row("", "month", (1, 1), "month"),
    row("", "year,yr", (12, 1), "month"),
    row("", "decade", (120, 1), "month"),
    row("", "century", (1200, 1), "month"),
    row("", "millennium", (12_000, 1), "month"),
    // mechanics
    si("N", "newton", "kg 1 m 1 s -2"),
    row("", "dyne", (1, 100_000), "kg 1 m 1 s -2"),
    si("J", "joule", "kg 1 m 2 s -2"),
    Row {
        symbols: "cal",
        names: "calorie",
        prefixed: true,
        size: (4184, 1000),
        dimension: "kg 1 m 2 s -2",
    },
    Row {
        symbols: "Wh",
        names: "watt hour",
        prefixed: true,
        size: (3600, 1),
        dimension: "kg 1 m 2 s -2",
    },
    si("eV", "electronvolt,electron volt", "electronvolt"),
    row("", "erg", (1, 10_000_000), "kg 1 m 2 s -2"),
    row("", "btu", (1, 1), "btu"),
    si("W", "watt", "kg 1 m 2 s -3"),
    row("hp", "horsepower", (1, 1), "horsepower"),
    si("Pa", "pascal", "kg 1 m -1 s -2"),
    Row {
        symbols: "bar",
        names: "bar",
        prefixed: true,
        size: (100_000, 1),
        dimension: "kg 1 m -1 s -2",
    },
    row("", "atmosphere,atm", (101_325, 1), "kg 1 m -1 s -2"),
    row("", "torr", (101_325, 760), "kg 1 m -1 s -2"),
    row("", "psi", (1, 1), "psi"),
    si("Hz", "hertz", "s -1"),
    row("", "knot", (1852, 3600), "m 1 s -1"),
    // electricity, light, chemistry, heat
    si("A", "ampere,amp", "A"),
    si("C", "coulomb", "A 1 s 1"),
    si("V", "volt", "kg 1 m 2 s -3 A -1"),
    si("Ω", "ohm", "kg 1 m 2 s -3 A -2"),
    si("S", "siemens", "kg -1 m -2 s 3 A 2"),
    si("F", "farad", "kg -1 m -2 s 4 A 2"),
    si("H", "henry", "kg 1 m 2 s -2 A -2"),
    si("T", "tesla", "kg 1 s -2 A -1"),
    si("Wb", "weber", "kg 1 m 2 s -2 A -1"),
    si("cd", "candela", "cd"),
    si("lm", "lumen", "lumen"),
    si("lx", "lux", "lumen 1 m -2"),
    si("mol", "mole", "mol"),
    si("K", "kelvin", "K"),
    row("", "celsius,degree celsius,centigrade,degree centigrade", (1, 1), "celsius"),
    row("", "fahrenheit,degree fahrenheit", (1, 1), "fahrenheit"),
    si("Bq", "becquerel", "becquerel"),
    row("dB", "decibel", (1, 1), "decibel"),
    // angles
    row("", "radian,rad", (1, 1), "radian"),
    row("", "steradian,sr", (1, 1), "steradian"),
    row("", "degree,deg", (1, 1), "degree"),
    row("", "revolution,rev", (1, 1), "revolution"),
    // information
    si("b", "bit", "bit"),
    Row { symbols: "B", names: "byte", prefixed: true, size: (8, 1), dimension: "bit" },
    row("", "pixel", (1, 1), "pixel"),
    // money
    row("", "dollar,usd", (1, 1), "dollar"),
    row("", "cent", (1, 100), "dollar"),
    row("", "euro,eur", (1, 1), "euro"),
    row("", "pound sterling,gbp", (1, 1), "pound sterling"),
    row("", "pence", (1, 100), "pound sterling"),
    row("", "yen,jpy", (1, 1), "yen"),
    row("", "yuan,rmb,cny,renminbi", (1, 1), "yuan"),
    row("", "rupee,inr", (1, 1), "rupee"),
    row("", "paisa", (1, 100), "rupee"),
    row("", "peso", (1, 1), "peso"),
    row("", "ruble,rouble", (1, 1), "ruble"),
    row("", "kopeck", (1, 100), "ruble"),
    row("", "franc,chf", (1, 1), "franc"),
    row("", "krw", (1, 1), "won"),
    row("", "rand", (1, 1), "rand"),
    row("", "krona,krone,kroner,kronor", (1, 1), "krona"),
    // what figures on a grid are measured in
    row("", "unit", (1, 1), "unit"),
    // ordinal numbers
    row("th,st,nd,rd", "th", (1, 1), "th"),
];

/// Spellings that are formulas of others.
const FORMULAS: [(&str, &str); 9] = [
    ("mph", "mile/hour"),
    ("kph", "km/h"),
    ("kmh", "km/h"),
    ("kmph", "km/h"),
    ("rpm", "revolution/minute"),
    ("cc", "cm^3"),
    ("mcg", "ug"),
    ("gm", "g"),
    ("kgs", "kg"),
];

/// Prefixes of the SI: symbol, name, exponent of ten. Those that nobody writes are left out: `am`
/// is no length.
const PREFIXES: [(&str, &str, i32); 18] = [
    ("da", "deca", 1),
    ("da", "deka", 1),
    ("h", "hecto", 2),
    ("k", "kilo", 3),
    ("M", "mega", 6),
    ("G", "giga", 9),
    ("T", "tera", 12),
    ("P", "peta", 15),
    ("E", "exa", 18),
    ("d", "deci", -1),
    ("c", "centi", -2),
    ("m", "milli", -3),
    ("u", "micro", -6),
    ("µ", "micro", -6),
    ("μ", "micro", -6),
    ("n", "nano", -9),
    ("p", "pico", -12),
    ("f", "femto", -15),
];

fn holds(list: &str, wanted: &str) -> bool {
    !list.is_empty() && list.split(',').any(|known| known == wanted)
}

/// What a spelling stands for as a formula of other spellings; `singular` is lower case.
pub(super) fn formula(singular: &str) -> Option<&'static str> {
    FORMULAS.iter().find(|known| known.0 == singular).map(|known| known.1)
}

/// The unit of a spelling: a symbol as it is, else a name in lower case and singular, else either
/// with a prefix.
pub(super) fn find(spelling: &str, singular: &str) -> Option<Factor> {
    let plain = |found: &'static Row| factor(found, found.shown(), 0);
    if let Some(found) = TABLE.iter().find(|row| holds(row.symbols, spelling)) {
        return Some(plain(found));
    }
    if let Some(found) = TABLE.iter().find(|row| holds(row.names, singular)) {
        return Some(plain(found));
    }
    PREFIXES.iter().find_map(|&(symbol, name, exponent)| {
        let prefixed = || TABLE.iter().filter(|row| row.prefixed);
        let by_symbol = spelling
            .strip_prefix(symbol)
            .and_then(|rest| prefixed().find(|row| holds(row.symbols, rest)));
        let by_name = || {
            singular
                .strip_prefix(name)
                .and_then(|rest| prefixed().find(|row| holds(row.names, rest)))
        };
        let found = by_symbol.or_else(by_name)?;
        Some(factor(found, format!("{symbol}{}", found.shown()), exponent))
    })
}

impl Row {
    fn shown(&self) -> String {
        let list = if self.symbols.is_empty() { self.names } else { self.symbols };
        list.split(',').next().unwrap_or_default().to_owned()
    }
}

fn factor(row: &'static Row, name: String, exponent: i32) -> Factor {
    let scale = RBig::from(UBig::from(10u8).pow(exponent.unsigned_abs() as usize));
    let size = RBig::from_parts(IBig::from(row.size.0), UBig::from(row.size.1));
    let size = if exponent < 0 { size / scale } else { size * scale };
    Factor { name: name.into(), size, dimension: dimension(row.dimension), power: 1 }
}

/// `kg 1 m 2 s -2`, or a base alone, which may be of two words.
fn dimension(written: &'static str) -> Dimension {
    let words: Vec<_> = written.split(' ').collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [base, power] => power.parse().ok().map(|power| (Base::Known(base), power)),
        _ => None,
    });
    let pairs: Option<Dimension> = pairs.collect();
    let mut dimension = pairs.unwrap_or_else(|| vec![(Base::Known(written), 1)]);
    dimension.sort();
    dimension
}

/// Every spelling of the table row by row, for tests.
#[cfg(test)]
pub(super) fn spellings() -> Vec<Vec<String>> {
    let of = |row: &Row| {
        let mut all = std::collections::BTreeSet::new();
        for symbol in row.symbols.split(',').filter(|symbol| !symbol.is_empty()) {
            all.insert(symbol.to_owned());
            all.extend(
                PREFIXES.iter().filter(|_| row.prefixed).map(|p| format!("{}{symbol}", p.0)),
            );
        }
        for name in row.names.split(',').filter(|name| !name.is_empty()) {
            all.insert(name.to_owned());
            all.extend(PREFIXES.iter().filter(|_| row.prefixed).map(|p| format!("{}{name}", p.1)));
        }
        all.into_iter().collect()
    };
    TABLE.iter().map(of).collect()
}
