//! How sure an accuracy is.

/// Wilson's 95 % interval of a share `p` seen in `n` independent trials; the whole of 0 to 1 for none.
///
/// Source: Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212, with z = 1.959964.
pub fn wilson(p: f64, n: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return (0.0, 1.0);
    }
    let n = n as f64;
    let z2 = Z * Z / n;
    let centre = (p + z2 / 2.0) / (1.0 + z2);
    let half = Z / (1.0 + z2) * (p * (1.0 - p) / n + z2 / (4.0 * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(successes: usize, n: usize, low: f64, high: f64) {
        let (l, h) = wilson(successes as f64 / n as f64, n);
        assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{l} {h}");
    }

    // From the closed formula, worked with 30 decimals outside this program.
    #[test]
    fn agrees_with_worked_values() {
        check(8, 10, 0.4902, 0.9433);
        check(0, 20, 0.0, 0.1611);
        check(20, 20, 0.8389, 1.0);
        check(50, 100, 0.4038, 0.5962);
    }

    #[test]
    fn nothing_seen_is_nothing_known() {
        assert_eq!(wilson(0.0, 0), (0.0, 1.0));
    }
}
