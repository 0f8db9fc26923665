#![allow(warnings)]
use rewards::*;
use serde_json::Value;
use std::time::Instant;
fn text(row: &Value, key: &str) -> String {
    if let Some(s) = row[key].as_str() {
        return s.to_owned();
    }
    let mut out = String::new();
    for part in row[format!("{key}_rle")].as_array().unwrap() {
        out += &part[0].as_str().unwrap().repeat(part[1].as_u64().unwrap() as usize);
    }
    out
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let policy = if args[2] == "rl" { Policy::Rl } else { Policy::Eval };
    let verbose = args.get(3).is_some_and(|a| a == "v");
    let all = args.get(4).map(|s| s.as_str());
    let (mut n, mut right, mut fp, mut fn_, mut und) = (0, 0, 0, 0, 0);
    let mut worst = 0f64;
    let mut total = 0f64;
    for line in std::fs::read_to_string(&args[1]).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let core = row["core"].as_bool().unwrap_or(true);
        if core == (all == Some("policy")) && all != Some("all") {
            continue;
        }
        if let Some(a) = all {
            if a == "policy" && row["tier"] == "parser" {
                continue;
            }
        }
        let gold = text(&row, "gold");
        let pred = text(&row, "prediction");
        let expected = row["expected"].as_bool().unwrap();
        let start = Instant::now();
        let (what, verdict) = if row["mode"] == "answer" {
            (pred.clone(), format!("{:?}", equivalent(&gold, &pred, policy)))
        } else {
            match extract(&pred, policy, Marker::Boxed) {
                Extracted::Answer(a) => {
                    (a.to_string(), format!("{:?}", equivalent(&gold, a, policy)))
                }
                other => (String::new(), format!("{other:?}")),
            }
        };
        let ms = start.elapsed().as_secs_f64() * 1e3;
        total += ms;
        if ms > worst {
            worst = ms;
        }
        if ms > row["max_ms"].as_f64().unwrap_or(20.0).min(20.0) {
            println!("SLOW {ms:.1} ms {} {:.80}", row["id"], gold);
        }
        let said = verdict == "Equal";
        n += 1;
        if said == expected {
            right += 1
        } else {
            if said {
                fp += 1
            } else {
                fn_ += 1
            }
            if verbose || said {
                let cut = |s: &str| {
                    s.chars()
                        .rev()
                        .take(150)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                        .collect::<String>()
                };
                println!(
                    "{} {} {verdict} G:{:?} A:{:?} P:{:?} {}",
                    if said { "FALSE POSITIVE" } else { "miss" },
                    row["id"],
                    cut(&gold),
                    what.chars().take(150).collect::<String>(),
                    cut(&pred),
                    row["policy"]
                );
            }
        }
    }
    println!(
        "{} {}: {right}/{n} = {:.4}, fp {fp}, fn {fn_}, worst {worst:.2} ms, mean {:.4} ms",
        args[1],
        args[2],
        right as f64 / n as f64,
        total / n as f64
    );
}
