//! `str.format`.

use super::super::attributes::{attribute, item};
use super::super::bounds::Budget;
use super::super::calls::Given;
use super::super::numbers::{Layout, MAX_WIDTH};
use super::super::value::Value;
use super::super::{Outcome, Trouble, printing, trouble};
use super::text::positional;

pub(super) fn format(text: &str, given: &Given, budget: &Budget) -> Outcome<String> {
    Fields { given, next: Some(0), budget }.expand(text, 2)
}

pub(super) fn format_map(text: &str, given: Given, budget: &Budget) -> Outcome<String> {
    let [mapping] = positional("format_map", given)?;
    let Value::Dict(dict) = mapping else { return Err(trouble("`format_map` wants a dict")) };
    let mut given = Given::default();
    for (key, value) in dict.items() {
        if let Some(name) = key.as_str() {
            given.name(name.clone(), value.clone())?;
        }
    }
    Fields { given: &given, next: Some(0), budget }.expand(text, 2)
}

struct Fields<'a> {
    given: &'a Given,
    /// The field that `{}` stands for; `None` after one with a number.
    next: Option<usize>,
    budget: &'a Budget,
}

impl Fields<'_> {
    fn expand(&mut self, text: &str, depth: usize) -> Outcome<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if rest.starts_with(brace) {
                out.push_str(brace);
                rest = &rest[1..];
                continue;
            }
            if brace == "}" {
                return Err(trouble("single '}' in a format"));
            }
            let end = field_end(rest).ok_or_else(|| trouble("expected '}' in a format"))?;
            if depth == 0 {
                return Err(trouble("a format is nested too deep"));
            }
            let field = self.field(&rest[..end], depth)?;
            self.budget.text(field.len())?;
            out.push_str(&field);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn field(&mut self, field: &str, depth: usize) -> Outcome<String> {
        let name_end = name_end(field);
        let (name, mut rest) = field.split_at(name_end);
        let mut value = self.value(name)?;
        if let Some(conversion) = rest.strip_prefix('!') {
            value = Value::str(match conversion.chars().next() {
                Some('s') => printing::text(&value, self.budget)?,
                Some('r') => printing::repr(&value, self.budget)?,
                _ => return Err(trouble(format!("unknown conversion in {{{field}}}"))),
            });
            rest = &conversion[1..];
        }
        let spec = match rest.strip_prefix(':') {
            Some(spec) => self.expand(spec, depth - 1)?,
            None if rest.is_empty() => String::new(),
            None => return Err(trouble(format!("unexpected {rest:?} in {{{field}}}"))),
        };
        one(&value, &spec, self.budget)
    }

    fn value(&mut self, name: &str) -> Outcome<Value> {
        let first_end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut path) = name.split_at(first_end);
        let at = if first.is_empty() {
            let at =
                self.next.ok_or_else(|| trouble("numbered and unnumbered fields are mixed"))?;
            self.next = Some(at + 1);
            Some(at)
        } else if let Ok(at) = first.parse() {
            if self.next.is_some_and(|next| next > 0) {
                return Err(trouble("numbered and unnumbered fields are mixed"));
            }
            self.next = None;
            Some(at)
        } else {
            None
        };
        let named = || self.given.named.iter().find(|(given, _)| &**given == first);
        let found = match at {
            Some(at) => self.given.positional.get(at),
            None => named().map(|(_, value)| value),
        };
        let mut value =
            found.cloned().ok_or_else(|| trouble(format!("there is no value for {{{name}}}")))?;
        while !path.is_empty() {
            if let Some(rest) = path.strip_prefix('[') {
                let (key, rest) =
                    rest.split_once(']').ok_or_else(|| trouble("expected ']' in a format"))?;
                let key = key.parse().map_or_else(|_| Value::str(key), Value::Int);
                value = item(&value, &key, self.budget)?;
                path = rest;
            } else {
                let rest = &path[1..];
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                value = attribute(&value, &rest[..end], self.budget)?;
                path = &rest[end..];
            }
        }
        Ok(value)
    }
}

/// Where the brace is that closes the field `rest` starts with.
fn field_end(rest: &str) -> Option<usize> {
    let mut depth = 1;
    rest.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    })
}

/// Where a conversion or a format starts; neither does within brackets.
fn name_end(field: &str) -> usize {
    let mut inside = false;
    let end = field.find(|c| {
        inside = (inside || c == '[') && c != ']';
        !inside && matches!(c, ':' | '!')
    });
    end.unwrap_or(field.len())
}

/// A format: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    layout: Layout,
    signed: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    kind: Option<char>,
}

fn invalid(spec: &str) -> Trouble {
    trouble(format!("the format {spec:?} is not supported"))
}

impl Spec {
    fn parse(spec: &str) -> Outcome<Self> {
        let mut found = Self::default();
        let chars: Vec<_> = spec.chars().collect();
        let mut at = 0;
        let is_align = |c: Option<&char>| c.is_some_and(|c| "<>=^".contains(*c));
        if is_align(chars.get(1)) {
            (found.fill, found.align, at) = (Some(chars[0]), Some(chars[1]), 2);
        } else if is_align(chars.first()) {
            (found.align, at) = (Some(chars[0]), 1);
        }
        let skip = |at: &mut usize, wanted: &str| {
            let c = chars.get(*at).copied().filter(|c| wanted.contains(*c));
            *at += usize::from(c.is_some());
            c
        };
        let sign = skip(&mut at, "+- ");
        found.signed = sign.is_some();
        found.layout.sign = sign.filter(|sign| *sign != '-');
        found.layout.alternate = skip(&mut at, "#").is_some();
        found.zero = skip(&mut at, "0").is_some();
        let number = |at: &mut usize| -> Outcome<Option<usize>> {
            let start = *at;
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            let digits: String = chars[start..*at].iter().collect();
            let number =
                if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(usize::MAX)) };
            if number.is_some_and(|number| number > MAX_WIDTH) {
                return Err(trouble(format!("a width or precision above {MAX_WIDTH}: {digits}")));
            }
            Ok(number)
        };
        found.width = number(&mut at)?.unwrap_or(0);
        found.grouping = skip(&mut at, ",_");
        if skip(&mut at, ".").is_some() {
            found.layout.precision = Some(number(&mut at)?.ok_or_else(|| invalid(spec))?);
        }
        found.kind = chars.get(at).copied();
        if at + usize::from(found.kind.is_some()) < chars.len() {
            return Err(invalid(spec));
        }
        Ok(found)
    }

    fn pad(&self, sign: &str, text: &str, align: char, budget: &Budget) -> Outcome<String> {
        let missing = self.width.saturating_sub(sign.chars().count() + text.chars().count());
        budget.text(text.len() + 4 * missing)?;
        let align = self.align.unwrap_or(if self.zero { '=' } else { align });
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        let blanks = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
        Ok(match align {
            '<' => format!("{sign}{text}{}", blanks(missing)),
            '>' => format!("{}{sign}{text}", blanks(missing)),
            '=' => format!("{sign}{}{text}", blanks(missing)),
            _ => format!("{}{sign}{text}{}", blanks(missing / 2), blanks(missing - missing / 2)),
        })
    }
}

/// `format(value, spec)`.
fn one(value: &Value, spec: &str, budget: &Budget) -> Outcome<String> {
    if spec.is_empty() {
        return printing::text(value, budget);
    }
    let found = Spec::parse(spec)?;
    if let Some(text) = value.as_str() {
        let numeric = found.signed || found.layout.alternate || found.grouping.is_some();
        if numeric || found.align == Some('=') || !matches!(found.kind, None | Some('s')) {
            return Err(invalid(spec));
        }
        let limit = found.layout.precision.unwrap_or(usize::MAX);
        let text: String = text.chars().take(limit).collect();
        // A zero before the width only fills, here.
        let align = found.align.unwrap_or('<');
        return Spec { align: Some(align), ..found }.pad("", &text, '<', budget);
    }
    let (sign, digits) = number(value, spec, &found)?;
    // Zeros that fill would be grouped too.
    if found.grouping.is_some() && found.zero {
        return Err(invalid(spec));
    }
    found.pad(&sign, &digits, '>', budget)
}

fn number(value: &Value, spec: &str, found: &Spec) -> Outcome<(String, String)> {
    let layout = found.layout;
    let kind = found.kind;
    if let Some(number) = value.as_int() {
        let plain = matches!(value, Value::Bool(_)) && kind.is_none();
        if plain {
            return Err(invalid(spec));
        }
        match kind {
            None | Some('d' | 'n') if layout.precision.is_none() => {
                let (sign, digits) = layout.integer(number, 'd');
                return Ok((sign, group(&digits, found.grouping, 3)));
            }
            Some(kind @ ('b' | 'o' | 'x' | 'X'))
                if layout.precision.is_none() && found.grouping != Some(',') =>
            {
                let (sign, digits) = layout.integer(number, kind);
                return Ok((sign, group(&digits, found.grouping, 4)));
            }
            Some('c') if !found.signed && layout.precision.is_none() => {
                let c = u32::try_from(number).ok().and_then(char::from_u32);
                return Ok((String::new(), c.ok_or_else(|| invalid(spec))?.to_string()));
            }
            _ => {}
        }
    }
    let number = value.as_float().ok_or_else(|| {
        trouble(format!("the format {spec:?} is not supported for '{}'", value.kind()))
    })?;
    let (sign, digits) = match kind {
        Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G')) => layout.float(number, kind),
        Some('%') => {
            let (sign, digits) = layout.float(number * 100.0, 'f');
            (sign, digits + "%")
        }
        None if layout.precision.is_none() && matches!(value, Value::Float(_)) => {
            let (sign, _) = layout.float(number, 'f');
            (sign, printing::float(number.abs()))
        }
        _ => return Err(invalid(spec)),
    };
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Ok((sign, group(&digits[..whole], found.grouping, 3) + &digits[whole..]))
}

/// Digits in groups from the right.
fn group(digits: &str, separator: Option<char>, size: usize) -> String {
    let Some(separator) = separator else { return digits.to_owned() };
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(size) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}
