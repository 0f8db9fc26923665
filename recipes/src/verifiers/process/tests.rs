//! Programs that answer, break and hang, written for `sh`.

use std::fs;
use std::time::Instant;

use rewards::{Outcome, Problem};

use super::*;

/// Earns its number; some completions break it. It notes every start in the file `$1`.
const JUDGE: &str = r#"
    echo start >> "$1"
    echo '{"ready": true}'
    while read -r line; do
        id=${line#*'"id":'}
        id=${id%%,*}
        case $line in
            *die*) exit 3 ;;
            *hang*) sleep 60 ;;
            *chat*) echo hello ;;
            *other*) echo '{"id": 99, "reward": 1}' ;;
            *refuse*) echo '{"id": '$id', "error": "not mine"}' ;;
            *silent*) exec >&-; sleep 60 ;;
            *long*) head -c 2000000 /dev/zero | tr '\0' x; echo ;;
            *flood*) while :; do echo again; done ;;
            *noise*) yes noise | head -n 200000 >&2; echo '{"id": '$id', "reward": '$id'}' ;;
            *blank*) echo; printf ' \r\n'; echo '{"id": '$id', "reward": '$id'}'; echo ;;
            *) echo '{"id": '$id', "reward": '$id'}' ;;
        esac
    done
"#;

/// Attempts with these texts.
fn with<T>(completions: &[&str], run: impl FnOnce(&[Attempt<'_>]) -> T) -> T {
    let problem =
        Problem { id: "1".into(), problem: "1+1".into(), answer: "2".into(), ..Problem::default() };
    let attempt =
        |&text| Attempt { problem: &problem, text, num_tokens: 3, max_tokens: 8, truncated: false };
    run(&completions.iter().map(attempt).collect::<Vec<_>>())
}

struct Judge {
    folder: tempfile::TempDir,
    process: Process,
}

impl Judge {
    fn new(script: &str, change: impl FnOnce(&mut ProcessConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let starts = folder.path().join("starts").display().to_string();
        let command = ["sh", "-c", script, "judge", &starts].map(str::to_owned).to_vec();
        let mut config: ProcessConfig = toml::from_str("command = []").unwrap();
        (config.command, config.deadline_s) = (command, 1.0);
        change(&mut config);
        let process = Process::start(config, Console::silent()).unwrap();
        Self { folder, process }
    }

    fn ask(&self, completions: &[&str]) -> Result<Vec<Verdict>, Fault> {
        let mut verdicts = vec![None; completions.len()];
        with(completions, |attempts| {
            self.process.judge(attempts, &mut verdicts, &Stop::default())
        })?;
        Ok(verdicts.into_iter().map(Option::unwrap).collect())
    }

    fn trial(&self, completion: &str) -> Result<Trial, Fault> {
        with(&[completion], |attempts| self.process.trial(&attempts[0], &Stop::default()))
    }

    /// The rewards, nothing for an error.
    fn rewards(&self, completions: &[&str]) -> Vec<Option<f64>> {
        let verdicts = self.ask(completions).unwrap();
        let earned = |said: Verdict| (said.outcome != Some(Outcome::Error)).then_some(said.reward);
        verdicts.into_iter().map(earned).collect()
    }

    fn starts(&self) -> usize {
        let starts = fs::read_to_string(self.folder.path().join("starts"));
        starts.unwrap_or_default().lines().count()
    }
}

#[test]
fn every_attempt_has_its_verdict_in_order() {
    for workers in [1, 3] {
        let judge = Judge::new(JUDGE, |config| config.workers = workers.try_into().unwrap());
        let text = "a \"quoted\"\nline and a wide tail ".repeat(9000);
        let expected: Vec<_> = (0..9).map(|id| Some(f64::from(id))).collect();
        assert_eq!(judge.rewards(&["a", "é", &text, "", "b", "c", "d", "e", "f"]).len(), 9);
        assert_eq!(judge.rewards(&["a"; 9]), expected);
        assert_eq!(judge.rewards(&[]), []);
        assert_eq!(judge.starts(), workers);
    }
}

#[test]
fn what_breaks_it_is_an_error_and_costs_nobody_else() {
    let judge = Judge::new(JUDGE, |_| {});
    let (one, three) = (Some(1.0), Some(3.0));
    for (nth, word) in
        ["die", "hang", "chat", "other", "silent", "long", "flood"].iter().enumerate()
    {
        assert_eq!(judge.rewards(&["a", "b", word, "d"]), [Some(0.0), one, None, three], "{word}");
        assert_eq!(judge.starts(), nth + 2, "{word}");
    }
    let starts = judge.starts();
    assert_eq!(judge.rewards(&["refuse", "b", "refuse", "d"]), [None, one, None, three]);
    assert_eq!(judge.starts(), starts, "an error that it reports itself is no failure of it");
    assert_eq!(judge.rewards(&["die"]), [None]);
    assert_eq!(judge.rewards(&["a", "b"]), [Some(0.0), one]);
}

#[test]
fn the_deadline_begins_when_it_grades() {
    let slow = JUDGE.replacen("echo start", "sleep 1.5; echo start", 1);
    let judge = Judge::new(&slow, |config| config.deadline_s = 1.0);
    assert_eq!(judge.rewards(&["a", "b"]), [Some(0.0), Some(1.0)]);
    let steady = JUDGE.replacen("id=${line", "sleep 0.3; id=${line", 1);
    let judge = Judge::new(&steady, |config| config.deadline_s = 1.0);
    assert!(judge.rewards(&["a"; 5]).iter().all(Option::is_some), "each has its own");
}

#[test]
fn what_died_unasked_is_started_again() {
    let once = JUDGE.replacen("while read -r line; do", "for i in 1; do read -r line", 1);
    let judge = Judge::new(&once, |_| {});
    for starts in 1..4 {
        assert_eq!(judge.rewards(&["a"]), [Some(0.0)]);
        assert_eq!(judge.starts(), starts);
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn one_that_does_not_start_is_away() {
    let away = |script: &str, words: &str| {
        let judge = Judge::new(script, |config| config.start_s = 1.5);
        for _ in 0..2 {
            let error = judge.ask(&["a", "b"]).unwrap_err();
            assert!(error.reason.contains(words), "{}", error.reason);
            assert_eq!(error.kind, FaultKind::Unready);
        }
    };
    away("exit 4", "it ended (exit status: 4)");
    away("echo 'no module' >&2; exit 4", "its standard error ends in\n    no module");
    away("sleep 60", "Python keeps what it prints to a pipe back");
    away("echo hello; sleep 60", "its first line was `hello`; its first line has to be {\"ready\"");
    away("echo '{\"ready\": false}'; sleep 60", "its first line was `{\"ready\": false}`");
    let config: ProcessConfig = toml::from_str("command = [\"./no-such\"]").unwrap();
    let error = Process::start(config, Console::silent()).unwrap_err().to_string();
    assert!(error.starts_with("verifier `process`: cannot start `./no-such`: "), "{error}");
}

#[test]
fn what_it_writes_in_a_loop_is_not_collected() {
    // It counts the lines that it could write after its reply.
    let script = r#"
        echo '{"ready": true}'
        line=$(head -c 60000 /dev/zero | tr '\0' x)
        read -r request
        echo '{"id": 0, "reward": 1}'
        while :; do echo "$line"; echo line >> "$1"; done
    "#;
    let judge = Judge::new(script, |_| {});
    assert_eq!(judge.rewards(&["a"]), [Some(1.0)]);
    thread::sleep(Duration::from_millis(500));
    let lines = judge.starts();
    assert!((1..10).contains(&lines), "{lines} lines of 60 kB were taken");
}

#[test]
fn empty_lines_are_skipped() {
    let judge = Judge::new(&JUDGE.replacen("echo '{\"ready", "echo; echo '{\"ready", 1), |_| {});
    assert_eq!(judge.rewards(&["a", "blank", "b"]), [Some(0.0), Some(1.0), Some(2.0)]);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(judge.rewards(&["blank", "c"]), [Some(0.0), Some(1.0)]);
    assert_eq!(judge.starts(), 1);
}

#[test]
fn standard_error_is_read_however_much_it_is() {
    let judge = Judge::new(JUDGE, |_| {});
    assert_eq!(judge.rewards(&["a", "noise", "b"]), [Some(0.0), Some(1.0), Some(2.0)]);
    assert_eq!(judge.starts(), 1);
}

#[test]
fn one_that_answers_without_saying_that_it_is_ready_is_ready() {
    let script = JUDGE.replace("echo '{\"ready\": true}'", "");
    assert!(!script.contains("ready"));
    let judge = Judge::new(&script, |_| {});
    assert_eq!(judge.trial("a"), Ok(Trial { refusal: None }));
    assert_eq!(judge.rewards(&["a", "b"]), [Some(0.0), Some(1.0)]);
    assert_eq!(judge.starts(), 1);
    // Known to be silent, what it dies of is the attempt, also right after a start.
    assert_eq!(judge.rewards(&["die", "die", "c"]), [None, None, Some(2.0)]);
    assert_eq!(judge.starts(), 3);
}

#[test]
fn at_the_first_contact_what_breaks_it_is_an_error() {
    let judge = Judge::new(JUDGE, |_| {});
    assert_eq!(judge.trial("a"), Ok(Trial { refusal: None }));
    assert_eq!(judge.trial("refuse"), Ok(Trial { refusal: Some("not mine".into()) }));
    for (word, kind, reason) in [
        ("die", FaultKind::Failed, "it ended (exit status: 3)"),
        ("hang", FaultKind::Failed, "no reply within 1.0 s (deadline_s)"),
        ("chat", FaultKind::Protocol, "it replied `hello`: no JSON, expected a JSON object"),
        ("other", FaultKind::Protocol, "it replied to attempt 99, expected to attempt 0"),
    ] {
        let away = judge.trial(word).unwrap_err();
        assert!(away.reason.starts_with(reason) && away.kind == kind, "{away:?}");
    }
}

#[test]
fn a_first_line_that_does_not_come_costs_no_more_than_its_time() {
    // It never flushes: what it prints comes when it ends.
    let judge = Judge::new("lines=$(cat); echo \"$lines\"", |config| {
        (config.start_s, config.deadline_s) = (0.5, 20.0);
    });
    let began = Instant::now();
    let away = judge.trial("a").unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(away.kind, FaultKind::Unready);
    assert!(away.reason.starts_with("no first line within 0.5 s (start_s)\n"), "{away:?}");
    // One that is asked long after its start has the time of an attempt.
    let judge = Judge::new(&JUDGE.replacen("echo '{\"ready\": true}'", "", 1), |config| {
        (config.start_s, config.deadline_s) = (0.5, 20.0);
    });
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(judge.trial("a"), Ok(Trial { refusal: None }));
}

#[test]
fn a_wrong_reply_of_one_that_says_nothing_at_its_start_is_not_a_wrong_start() {
    for reply in ["{\"id\": 0, \"reward\": NaN}", "{\"id\": 7, \"reward\": 1}"] {
        let judge = Judge::new(&format!("read -r line; echo '{reply}'; read -r line"), |_| {});
        let away = judge.trial("a").unwrap_err();
        assert_eq!(away.kind, FaultKind::Protocol, "{away:?}");
        assert!(!away.reason.contains("ready"), "{away:?}");
    }
}

#[test]
fn the_command_for_a_person_asks_the_same() {
    let judge = Judge::new("read -r line; printf '%s\\n' \"$line\"", |_| {});
    let problem = &Problem { problem: "it's \"1+1\"".into(), ..Problem::default() };
    for text in ["2", "a\nb\\c 'd'"] {
        let attempt = Attempt { problem, text, num_tokens: 1, max_tokens: 1, truncated: false };
        let by_hand = judge.process.by_hand(&attempt);
        let output = std::process::Command::new("sh").args(["-c", &by_hand]).output().unwrap();
        let asked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(asked, serde_json::to_value(Request::new(0, &attempt)).unwrap());
    }
}

#[test]
fn a_stop_does_not_wait_for_a_reply() {
    let judge = Judge::new(JUDGE, |config| config.deadline_s = 60.0);
    let (stop, began) = (Stop::default(), Instant::now());
    let requested = stop.clone();
    let stopping = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        requested.request();
    });
    let mut verdicts = vec![None; 3];
    let ended =
        with(&["a", "hang", "b"], |attempts| judge.process.judge(attempts, &mut verdicts, &stop));
    assert_eq!(ended, Err(Fault::stopped()));
    assert!(verdicts[0].is_some() && verdicts[2].is_none(), "what it said is kept");
    assert!(began.elapsed() < Duration::from_secs(5));
    stopping.join().unwrap();
}

#[test]
fn its_criterion_tells_commands_apart_and_shows_none() {
    let criterion = |command: &str| {
        let text = format!("name = \"judge\"\ncommand = {command}");
        let process = Process::start(toml::from_str(&text).unwrap(), Console::silent());
        process.unwrap().criterion()
    };
    let one = criterion("[\"true\", \"--key\", \"s3cret\"]");
    assert!(one.starts_with("process `judge`, command ") && !one.contains("s3cret"), "{one}");
    assert_eq!(one, criterion("[\"true\", \"--key\", \"s3cret\"]"));
    assert_ne!(one, criterion("[\"true\", \"--keys3cret\"]"));
}

#[test]
fn its_children_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!(
        "echo '{{\"ready\": true}}'; sleep 60 & echo $! > {}; read -r line; wait",
        pid.display()
    );
    let judge = Judge::new(&script, |config| config.deadline_s = 0.2);
    assert_eq!(judge.rewards(&["a"]), [None]);
    drop(judge);
    assert_ends(&pid);
}

#[test]
#[cfg(target_os = "linux")]
fn children_in_sessions_of_their_own_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    // Its parent ends at once, so that another process adopts it.
    let script = format!(
        "(setsid sh -c 'echo $$ > {}; exec sleep 60' &); echo '{{\"ready\": true}}'; sleep 0.1; read -r \
         line; read -r line",
        pid.display()
    );
    let judge = Judge::new(&script, |config| config.deadline_s = 0.3);
    assert_eq!(judge.rewards(&["a"]), [None]);
    drop(judge);
    assert_ends(&pid);
}

/// Fails unless the process whose number is in the file `pid` ends soon.
#[track_caller]
fn assert_ends(pid: &std::path::Path) {
    let pid = fs::read_to_string(pid).unwrap();
    let runs = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        // A zombie has ended; whoever adopted it reaps it.
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let end = Instant::now() + Duration::from_secs(5);
    while runs() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!runs(), "{pid} still runs");
}
