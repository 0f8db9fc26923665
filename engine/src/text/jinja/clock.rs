//! The day that templates are told, and `strftime`.

use super::bounds::Budget;
use super::numbers::MAX_WIDTH;
use super::{Outcome, trouble};

/// A day. Templates that write today's date are told this one, at midnight, so that a run does not
/// depend on the day it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year of the common era.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

impl Default for Date {
    /// The day that Llama 3.2's template falls back to.
    fn default() -> Self {
        Self { year: 2024, month: 7, day: 26 }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    fn month_name(self) -> &'static str {
        MONTHS[(self.month.clamp(1, 12) - 1) as usize]
    }

    /// Days after Sunday. Source: Sakamoto's rule for the Gregorian calendar.
    fn weekday(self) -> u32 {
        const SHIFT: [u32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let month = self.month.clamp(1, 12);
        let year = if month < 3 { self.year.saturating_sub(1) } else { self.year };
        let shift = SHIFT[(month - 1) as usize];
        (year + year / 4 - year / 100 + year / 400 + shift + self.day) % 7
    }

    fn is_leap(year: u32) -> bool {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    }

    /// From 1.
    fn day_of_year(self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = u32::from(self.month > 2 && Self::is_leap(self.year));
        BEFORE[(self.month.clamp(1, 12) - 1) as usize] + leap + self.day
    }

    /// Weeks that began on `first` (0 is Sunday), up to this day.
    fn week(self, first: u32) -> u32 {
        (self.day_of_year() + 6 - (self.weekday() + 7 - first) % 7) / 7
    }

    /// Year and week by ISO 8601: weeks start on Monday, the first has the year's first Thursday.
    fn iso_week(self) -> (u32, u32) {
        let from_monday = (self.weekday() + 6) % 7;
        let week = (self.day_of_year() + 9 - from_monday) / 7;
        let long = |year: u32| {
            let first = Self { year, month: 1, day: 1 }.weekday();
            if first == 4 || (first == 3 && Self::is_leap(year)) { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, long(self.year - 1)),
            week if week > long(self.year) => (self.year + 1, 1),
            week => (self.year, week),
        }
    }
}

/// `format` with its codes replaced, as glibc's `strftime` does for midnight of a day without a
/// time zone.
pub(super) fn strftime(date: Date, format: &str, budget: &Budget) -> Outcome<String> {
    budget.text(format.len())?;
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let flags = rest.len() - rest.trim_start_matches(['-', '_', '0', '^', '#']).len();
        let (flags, after) = rest.split_at(flags);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (width, after) = after.split_at(digits);
        let Some(code) = after.chars().next() else {
            out.push('%');
            out.push_str(rest);
            return Ok(out);
        };
        rest = &after[code.len_utf8()..];
        let part = match composite(code) {
            Some(format) => Part::Text(strftime(date, format, budget)?),
            None => simple(date, code)?,
        };
        let width = width.parse().unwrap_or(0_usize);
        if width > MAX_WIDTH {
            return Err(trouble(format!("a width above {MAX_WIDTH} in `strftime_now`")));
        }
        out.push_str(&part.padded(code, flags, width));
        budget.text(width)?;
    }
    out.push_str(rest);
    Ok(out)
}

/// Codes that stand for several others.
fn composite(code: char) -> Option<&'static str> {
    Some(match code {
        'c' => "%a %b %e %H:%M:%S %Y",
        'D' | 'x' => "%m/%d/%y",
        'F' => "%Y-%m-%d",
        'r' => "%I:%M:%S %p",
        'R' => "%H:%M",
        'T' | 'X' => "%H:%M:%S",
        _ => return None,
    })
}

enum Part {
    Text(String),
    /// A number, its width, and what it is filled with.
    Number(u32, usize, char),
}

fn simple(date: Date, code: char) -> Outcome<Part> {
    let text = |text: &str| Part::Text(text.to_owned());
    let zeros = |number, width| Part::Number(number, width, '0');
    Ok(match code {
        'A' => text(DAYS[date.weekday() as usize]),
        'a' => text(&DAYS[date.weekday() as usize][..3]),
        'B' => text(date.month_name()),
        'b' | 'h' => text(&date.month_name()[..3]),
        'C' => zeros(date.year / 100, 2),
        'd' => zeros(date.day, 2),
        'e' => Part::Number(date.day, 2, ' '),
        'f' => text("000000"),
        'G' => zeros(date.iso_week().0, 1),
        'g' => zeros(date.iso_week().0 % 100, 2),
        'H' | 'M' | 'S' => zeros(0, 2),
        'I' => zeros(12, 2),
        'j' => zeros(date.day_of_year(), 3),
        'k' => Part::Number(0, 2, ' '),
        'l' => Part::Number(12, 2, ' '),
        'm' => zeros(date.month, 2),
        'n' => text("\n"),
        'P' => text("am"),
        'p' => text("AM"),
        't' => text("\t"),
        'U' => zeros(date.week(0), 2),
        'u' => zeros((date.weekday() + 6) % 7 + 1, 1),
        'V' => zeros(date.iso_week().1, 2),
        'W' => zeros(date.week(1), 2),
        'w' => zeros(date.weekday(), 1),
        'Y' => zeros(date.year, 1),
        'y' => zeros(date.year % 100, 2),
        'Z' | 'z' => text(""),
        '%' => text("%"),
        other => {
            return Err(trouble(format!("the code %{other} of `strftime_now` is not supported")));
        }
    })
}

impl Part {
    /// With glibc's flags: `-` fills with nothing, `_` with blanks, `0` with zeros; `^` is upper
    /// case, `#` the other one.
    fn padded(self, code: char, flags: &str, least: usize) -> String {
        let fill = flags.chars().rev().find(|flag| "-_0".contains(*flag));
        let (text, width, usual) = match self {
            Self::Text(text) => (text, 0, ' '),
            Self::Number(number, width, usual) => (number.to_string(), width, usual),
        };
        let text = match flags.chars().rev().find(|flag| "^#".contains(*flag)) {
            Some('#') if code == 'p' => text.to_lowercase(),
            Some(_) => text.to_uppercase(),
            None => text,
        };
        let (fill, width) = match fill {
            Some('-') => (usual, least),
            Some('_') => (' ', width.max(least)),
            Some(_) => ('0', width.max(least)),
            None => (usual, width.max(least)),
        };
        let missing = width.saturating_sub(text.chars().count());
        std::iter::repeat_n(fill, missing).collect::<String>() + &text
    }
}
