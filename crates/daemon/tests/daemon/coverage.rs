//! Each parameter stands in some test against the running daemon.

use driftless_daemon::conf::params::PARAMS;

/// What no test here can tell: the system's log, and what only the kernel's queue of connections
/// shows.
const UNTESTED: &[&str] =
    &["listen backlog", "socket options", "charset", "syslog facility", "syslog tag"];

#[test]
fn every_parameter_has_a_test_that_needs_it() {
    let files =
        ["access", "book", "confined", "crowds", "hostile", "log", "options", "pair", "running"];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon");
    let text: String = files
        .iter()
        .map(|name| std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap())
        .collect();
    let is_set = |name: &str| text.contains(&format!("{name} ="));
    let missing: Vec<&str> =
        PARAMS.iter().map(|param| param.name).filter(|name| !is_set(name)).collect();
    let expected: Vec<&str> =
        PARAMS.iter().map(|param| param.name).filter(|name| UNTESTED.contains(name)).collect();
    assert_eq!(missing, expected);
}
