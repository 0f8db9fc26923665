//! How long grading takes, row by row, and for pairs of integers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rewards::Strictness;
use rewards::verifier::Math;
use serde::Serialize;

use super::{Id, Row, judge};
use crate::random::draws;

/// What was measured: one line of JSON. A row's time is the least of its repetitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    what: &'static str,
    strictness: Strictness,
    rows: usize,
    reps: usize,
    /// Median time of a row, in microseconds.
    median_us: f64,
    /// Time that 99 rows in 100 do not exceed.
    p99_us: f64,
    /// Time of the slowest row.
    worst_us: f64,
    /// The slowest row.
    worst: Id,
    /// Rows of more than 20 milliseconds.
    rows_over_20_ms: usize,
    integer_pairs: usize,
    /// Pairs of integers compared in a minute, on one core.
    integer_pairs_per_min: f64,
}

/// A row that takes longer is one too many.
const SLOW: Duration = Duration::from_millis(20);
/// Pairs of integers that are compared.
const PAIRS: usize = 1_000_000;

/// Grades every row `reps` times on this thread, then a million pairs of integers.
pub fn bench(math: Math, rows: &[Row], reps: usize) -> Report {
    let mut times: Vec<(Duration, &Row)> = rows
        .iter()
        .map(|row| {
            let (gold, prediction) = (row.gold.expanded(), row.prediction.expanded());
            let time = least(reps, || {
                black_box(judge(math, row.taken_as, black_box(&gold), black_box(&prediction)));
            });
            (time, row)
        })
        .collect();
    times.sort_by_key(|(time, _)| *time);
    // To the nanosecond, which is what the clock has.
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    // The smallest time that this share of the rows does not exceed.
    let quantile = |share: f64| {
        let rank = (share * times.len() as f64).ceil().max(1.0) as usize;
        micros(times[rank - 1].0)
    };
    let (slowest, worst) = times[times.len() - 1];
    let pairs = integers(PAIRS);
    let seconds = least(reps, || {
        for (gold, answer) in &pairs {
            black_box(math.judge_answer(black_box(gold), black_box(answer)));
        }
    });
    Report {
        what: "grade",
        strictness: math.strictness,
        rows: rows.len(),
        reps,
        median_us: quantile(0.5),
        p99_us: quantile(0.99),
        worst_us: micros(slowest),
        worst: worst.id.clone(),
        rows_over_20_ms: times.iter().filter(|(time, _)| *time > SLOW).count(),
        integer_pairs: PAIRS,
        integer_pairs_per_min: (60.0 * PAIRS as f64 / seconds.as_secs_f64()).round(),
    }
}

fn least(reps: usize, mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..reps.max(1)).map(time).min().unwrap_or_default()
}

/// Pairs of integers of up to nine digits, half of them equal: the answers of most problems.
fn integers(count: usize) -> Vec<(String, String)> {
    let mut words = draws(1, "integer pairs");
    let mut integer = || {
        let digits = 1 + words.bounded(9);
        let number = words.bounded(10_u32.pow(digits));
        if words.bounded(8) == 0 { format!("-{number}") } else { number.to_string() }
    };
    let pair = |index: usize| {
        let gold = integer();
        let answer = if index.is_multiple_of(2) { gold.clone() } else { integer() };
        (gold, answer)
    };
    (0..count).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::read_rows;

    #[test]
    fn a_report_has_every_figure() {
        let rows = concat!(
            r#"{"id":"short","gold":"1","prediction":"1","as":"answer"}"#,
            "\n",
            r#"{"id":"long","gold":"1","prediction_rle":[["\\boxed{1} ",99999]],"as":"response"}"#,
        );
        let rows = read_rows(rows.as_bytes()).unwrap();
        let report = bench(Math::default(), &rows, 2);
        assert_eq!((report.rows, report.worst.to_string()), (2, "long".to_owned()));
        assert!(report.median_us <= report.p99_us && report.p99_us <= report.worst_us);
        assert!(report.integer_pairs_per_min > 0.0);
        assert_eq!(least(3, || ()).as_secs(), 0);
    }

    #[test]
    fn half_of_the_pairs_are_equal() {
        let pairs = integers(1000);
        assert_eq!(pairs, integers(1000));
        let equal = pairs.iter().filter(|(gold, answer)| gold == answer).count();
        assert!((500..560).contains(&equal), "{equal}");
        assert!(pairs.iter().all(|(gold, _)| gold.parse::<i64>().is_ok()));
    }
}
