//! Characters beyond ASCII, as LaTeX would write them.

use std::borrow::Cow;

use crate::Strictness;

/// Rewrites every character that has one plain meaning; the others stay, and stop the reader later.
///
/// Full-width forms and the digits and letters of the mathematical alphabets are what Unicode's
/// NFKC makes of them. Superscripts are exponents and never digits; the digits of other scripts
/// stay.
pub(super) fn plain(text: &str, strictness: Strictness) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut raised = None;
    for character in text.chars() {
        let script = script(character);
        if let Some((mark, digit)) = script {
            if raised != Some(mark) {
                if raised.is_some() {
                    plain.push('}');
                }
                plain.push(mark);
                plain.push('{');
                raised = Some(mark);
            }
            plain.push(digit);
            continue;
        }
        if raised.take().is_some() {
            plain.push('}');
        }
        // a space before these says that they are units, as a space of LaTeX does
        if matches!(character, 'μ' | 'µ' | 'Ω' | '\u{2126}') && plain.ends_with(' ') {
            plain.push_str(r"\,");
        }
        match word(character, strictness) {
            Some(word) => plain.push_str(word),
            None => plain.push(compatible(character)),
        }
    }
    if raised.is_some() {
        plain.push('}');
    }
    Cow::Owned(plain)
}

/// A raised or lowered digit or sign: its mark and itself.
fn script(character: char) -> Option<(char, char)> {
    let digit = |zero: u32| char::from_digit(character as u32 - zero, 10);
    Some(match character {
        '¹' => ('^', '1'),
        '²' => ('^', '2'),
        '³' => ('^', '3'),
        '⁰' | '⁴'..='⁹' => ('^', digit(0x2070)?),
        '⁺' => ('^', '+'),
        '⁻' => ('^', '-'),
        'ⁿ' => ('^', 'n'),
        '₀'..='₉' => ('_', digit(0x2080)?),
        _ => return None,
    })
}

/// The compatible ASCII character, or the character itself.
fn compatible(character: char) -> char {
    let code = character as u32;
    let plain = match code {
        0xFF01..=0xFF5E => code - 0xFF01 + 0x21,
        // mathematical digits: bold, double-struck, sans-serif, sans-serif bold, monospace
        0x1D7CE..=0x1D7FF => (code - 0x1D7CE) % 10 + u32::from(b'0'),
        // mathematical letters, in runs of upper and lower case
        0x1D400..=0x1D6A3 => {
            let letter = (code - 0x1D400) % 52;
            if letter < 26 { letter + u32::from(b'A') } else { letter - 26 + u32::from(b'a') }
        }
        _ if character.is_whitespace() => u32::from(b' '),
        _ => code,
    };
    char::from_u32(plain).unwrap_or(character)
}

fn word(character: char, strictness: Strictness) -> Option<&'static str> {
    Some(match character {
        '\u{2212}' | '\u{FE63}' | '\u{FF0D}' => "-",
        // hyphens and dashes are no signs in typeset mathematics
        '\u{2010}' | '\u{2011}' | '\u{2013}' if strictness == Strictness::Eval => "-",
        '\u{200B}' | '\u{200C}' | '\u{200D}' | '\u{2060}' | '\u{FEFF}' | '\u{AD}' => "",
        '×' | '·' | '⋅' | '∙' | '•' | '∗' => r"\times ",
        '÷' => r"\div ",
        '∕' | '⁄' => "/",
        '√' => r"\sqrt ",
        '∛' => r"\sqrt[3]",
        '∜' => r"\sqrt[4]",
        '±' => r"\pm ",
        '∓' => r"\mp ",
        '≤' | '⩽' | '≦' => r"\le ",
        '≥' | '⩾' | '≧' => r"\ge ",
        '≠' => r"\ne ",
        '≈' | '≃' => r"\approx ",
        '≡' => r"\equiv ",
        '∈' => r"\in ",
        '∉' => r"\notin ",
        '⊂' => r"\subset ",
        '⊆' => r"\subseteq ",
        '∪' => r"\cup ",
        '∩' => r"\cap ",
        '∖' => r"\setminus ",
        '∅' | '⌀' => r"\emptyset ",
        '∞' => r"\infty ",
        '∑' => r"\sum ",
        '∏' => r"\prod ",
        '∫' => r"\int ",
        '∣' => "|",
        '、' => ",",
        '△' => r"\triangle ",
        '°' | 'º' | '˚' => r"^\circ ",
        '→' => r"\to ",
        '↦' => r"\mapsto ",
        '∠' => r"\angle ",
        '⊥' => r"\perp ",
        '∥' => r"\parallel ",
        '…' => r"\ldots ",
        // the sign of the angstrom is the letter
        '\u{212B}' => "Å",
        '′' | '’' => "'",
        '⌊' => r"\lfloor ",
        '⌋' => r"\rfloor ",
        '⌈' => r"\lceil ",
        '⌉' => r"\rceil ",
        '⟨' => r"\langle ",
        '⟩' => r"\rangle ",
        'ℝ' => r"\mathbb{R}",
        'ℤ' => r"\mathbb{Z}",
        'ℕ' => r"\mathbb{N}",
        'ℚ' => r"\mathbb{Q}",
        'ℂ' => r"\mathbb{C}",
        _ => return amount(character).or_else(|| greek(character)),
    })
}

/// Signs of money and fractions.
fn amount(character: char) -> Option<&'static str> {
    Some(match character {
        '¢' => r"\text{ cents}",
        '‰' => r"\text{ per mille}",
        '€' => r"\euro ",
        '£' => r"\pounds ",
        '¥' => r"\yen ",
        '½' => r"\frac{1}{2}",
        '⅓' => r"\frac{1}{3}",
        '⅔' => r"\frac{2}{3}",
        '¼' => r"\frac{1}{4}",
        '¾' => r"\frac{3}{4}",
        '⅕' => r"\frac{1}{5}",
        '⅖' => r"\frac{2}{5}",
        '⅗' => r"\frac{3}{5}",
        '⅘' => r"\frac{4}{5}",
        '⅙' => r"\frac{1}{6}",
        '⅚' => r"\frac{5}{6}",
        '⅛' => r"\frac{1}{8}",
        '⅜' => r"\frac{3}{8}",
        '⅝' => r"\frac{5}{8}",
        '⅞' => r"\frac{7}{8}",
        _ => return None,
    })
}

fn greek(character: char) -> Option<&'static str> {
    Some(match character {
        'π' | '𝜋' => r"\pi ",
        'α' => r"\alpha ",
        'β' => r"\beta ",
        'γ' => r"\gamma ",
        'δ' => r"\delta ",
        'ε' | 'ϵ' => r"\epsilon ",
        'ζ' => r"\zeta ",
        'η' => r"\eta ",
        'θ' | 'ϑ' => r"\theta ",
        'κ' => r"\kappa ",
        'λ' => r"\lambda ",
        'μ' | 'µ' => r"\mu ",
        'ν' => r"\nu ",
        'ξ' => r"\xi ",
        'ρ' => r"\rho ",
        'σ' => r"\sigma ",
        'τ' => r"\tau ",
        'φ' | 'ϕ' => r"\phi ",
        'χ' => r"\chi ",
        'ψ' => r"\psi ",
        'ω' => r"\omega ",
        'Γ' => r"\Gamma ",
        'Δ' | '∆' => r"\Delta ",
        'Θ' => r"\Theta ",
        'Λ' => r"\Lambda ",
        'Ξ' => r"\Xi ",
        'Σ' => r"\Sigma ",
        'Φ' => r"\Phi ",
        'Ψ' => r"\Psi ",
        'Ω' | '\u{2126}' => r"\Omega ",
        _ => return None,
    })
}
