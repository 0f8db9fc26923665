//! What is said of a server that fails or is not reached.

use super::*;

#[test]
fn what_a_server_says_in_a_failure_is_shown_in_its_first_200_characters() {
    let says = format!("Traceback:\n\u{1b}[31m{}", "x".repeat(400));
    let url = serve(move |_| (500, says.clone()));
    let http = http(&url, "");
    let expected =
        format!("got 500, with the body `Traceback:\\n\\u{{1b}}[31m{}…`", "x".repeat(200 - 16));
    let said = trial(&http, "2").unwrap_err().reason;
    assert!(said.contains(&expected), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_is_not_made_in_time_is_told_with_its_limit_and_key() {
    // The server takes no connection: the system holds some for it, then no more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect =
        |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let held: Vec<_> = (0..800).map_while(connect).collect();
    assert!(held.len() < 800, "its queue is full");
    let http = http(&format!("http://{address}/"), "timeout_s = 0.4\nconcurrency = 2\nbatch = 1");
    let limit = "no connection within 0.2 s (half of `timeout_s`, at most 10 s)";
    let alone = trial(&http, "2").unwrap_err();
    let act = ": check that the server runs, and the host and port in `url`";
    assert!(alone.reason.ends_with(&format!("{limit}{act}")), "{}", alone.reason);
    let crowd = judge(&http, &["a", "b"]).unwrap_err();
    assert!(
        crowd.reason.contains(limit) && crowd.reason.contains("lower `concurrency`"),
        "{crowd}"
    );
    assert!(alone.is_transient() && crowd.is_transient());
}
