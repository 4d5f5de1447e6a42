use std::time::Duration;

use driftless_filter::Given;
use driftless_live::config::{Destination, MaxDelete, PasswordSource};
use driftless_live::schedule::Schedule;
use driftless_transfer::options::CompressChoice;

use super::*;

fn at() -> Circumstances {
    Circumstances { base: "/etc/driftless".into(), umask: 0o022, password: None, shell: Vec::new() }
}

fn read_text(text: &str) -> Result<Config, String> {
    parse(Path::new("live.toml"), text, &at()).map_err(|error| error.to_string())
}

/// Reads a mirror that has these lines besides source and target; they begin in line 4.
fn mirror(lines: &str) -> Result<MirrorConfig, String> {
    let text = format!("[[mirror]]\nsource = \"/web\"\ntargets = [\"h::m\"]\n{lines}\n");
    read_text(&text).map(|mut config| config.mirrors.remove(0))
}

#[track_caller]
fn refused(lines: &str, expected: &str) {
    assert_eq!(mirror(lines).unwrap_err(), expected, "{lines}");
}

#[track_caller]
fn file_refused(text: &str, expected: &str) {
    assert_eq!(read_text(text).unwrap_err(), expected, "{text}");
}

#[test]
fn a_whole_file_says_what_it_means() {
    let config = read_text(
        r#"
[control]
socket = "/run/dl.sock"

[[mirror]]
name = "wwwroot"
source = "/web/wwwroot"
targets = [
  "rsync://web1user@192.168.12.134/web1",
  { url = "web3user@192.168.12.132::web3", password-file = "web3.pass" },
  "/backup/wwwroot",
]
password-file = "/etc/server.pass"
exclude = ["*.swp", "debug*"]
include = "keep.swp"
filter = ["- *.tmp"]
exclude-from = "rules"
delete = false
max-delete = "20%"
settle = "500ms"
timeout = 60
compress = true
hard-links = true
live = true

[[mirror]]
source = "/srv/data/"
targets = "h::data"
max-delete = 100
"#,
    )
    .unwrap();
    assert_eq!(config.socket, Some("/run/dl.sock".into()));
    let [first, second] = &config.mirrors[..] else { panic!("two mirrors") };
    assert_eq!(first.name, "wwwroot");
    assert_eq!(first.source, PathBuf::from("/web/wwwroot"));
    let places: Vec<String> = first.targets.iter().map(|t| t.destination.to_string()).collect();
    assert_eq!(
        places,
        [
            "rsync://web1user@192.168.12.134/web1",
            "rsync://web3user@192.168.12.132/web3",
            "/backup/wwwroot"
        ]
    );
    let passwords: Vec<_> = first.targets.iter().map(|target| target.password.clone()).collect();
    assert_eq!(
        passwords,
        [
            PasswordSource::File("/etc/server.pass".into()),
            PasswordSource::File("/etc/driftless/web3.pass".into()),
            PasswordSource::None
        ]
    );
    assert_eq!(
        first.rules,
        [
            Given::Filter(b"- *.tmp".to_vec()),
            Given::Include(b"keep.swp".to_vec()),
            Given::Exclude(b"*.swp".to_vec()),
            Given::Exclude(b"debug*".to_vec()),
            Given::ExcludeFrom(b"/etc/driftless/rules".to_vec()),
        ]
    );
    assert!(!first.delete);
    assert_eq!(first.max_delete, MaxDelete::Share(20));
    assert_eq!(first.settle, Duration::from_millis(500));
    assert_eq!(first.options.timeout, Some(Duration::from_secs(60)));
    assert_eq!(first.options.compress, CompressChoice::Negotiate);
    assert!(first.options.hard_links);
    assert_eq!(second.name, "data");
    assert!(second.delete);
    assert_eq!(second.max_delete, MaxDelete::Count(100));
    assert!(matches!(second.targets[0].destination, Destination::Daemon(_)));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    refused(
        "exclud = '*.swp'",
        "live.toml:4: unknown key 'exclud' in [[mirror]]; did you mean 'exclude'?",
    );
    refused(
        "\npassword_file = 'x'",
        "live.toml:5: unknown key 'password_file' in [[mirror]]; did you mean 'password-file'?",
    );
    refused(
        "zc = 'lz4'",
        "live.toml:4: unknown key 'zc' in [[mirror]]; did you mean 'compress-choice'?",
    );
    file_refused(
        "[control]\nsock = '/x'\n",
        "live.toml:2: unknown key 'sock' in [control]; did you mean 'socket'?",
    );
    file_refused("[[miror]]\n", "live.toml:1: unknown key 'miror'; did you mean 'mirror'?");
    file_refused(
        "[[mirror]]\nsource = '/web'\ntargets = [{ uri = 'h::m' }]\n",
        "live.toml:3: unknown key 'uri' in a target; did you mean 'url'?",
    );
}

#[test]
fn a_remote_source_is_pulled_from_at_set_times() {
    let config = read_text(
        "[[mirror]]\nsource = 'rsync://backup@h/site'\ntargets = ['/b/1', 'b2']\nlive = false\n\
         schedule = '30 3 * * *'\npassword-file = 'p'\ndelete = false\nexclude = 'x'\n\
         [[mirror]]\nsource = 'u@h:/srv/data/'\ntargets = '/c'\nlive = false\nschedule = '0 0 * * *'\n",
    )
    .unwrap();
    assert!(config.mirrors.is_empty());
    let [site, data] = &config.pulls[..] else { panic!("two pulls") };
    assert_eq!((&*site.name, &*data.name), ("site", "data"));
    assert_eq!(site.source.to_string(), "rsync://backup@h/site");
    assert_eq!(site.targets, [PathBuf::from("/b/1"), "/etc/driftless/b2".into()]);
    assert_eq!(site.password, PasswordSource::File("/etc/driftless/p".into()));
    assert_eq!(site.rules, [Given::Exclude(b"x".to_vec())]);
    assert!(!site.delete && data.delete);
    assert_eq!(data.source.to_string(), "u@h:/srv/data/");
}

#[test]
fn what_does_not_fit_a_remote_source_is_named() {
    let with = |keys: &str| format!("[[mirror]]\nsource = 'rsync://h/m'\n{keys}\n");
    let needs = "live.toml:2: changes of a remote source are not seen as they happen: write live = \
                 false and a schedule, as in schedule = \"30 3 * * *\"";
    file_refused(&with("targets = '/x'"), needs);
    file_refused(&with("targets = '/x'\nlive = false"), needs);
    file_refused(&with("targets = '/x'\nschedule = '0 0 * * *'"), needs);
    let pull = |keys: &str| with(&format!("live = false\nschedule = '0 0 * * *'\n{keys}"));
    file_refused(
        &pull("targets = 'h::m'"),
        "live.toml:1: rsync://h/m: the targets of a remote source are directories of this machine",
    );
    file_refused(
        &pull("targets = '/x'\nsettle = '1s'"),
        "live.toml:6: settle means nothing for a remote source",
    );
    file_refused(
        &pull("targets = '/x'\nverify = '0 5 * * 0'"),
        "live.toml:6: verify is not supported for a remote source yet",
    );
    refused(
        "live = false",
        "live.toml:4: live = false is for sources on other machines; leave it out, or name a \
         schedule beside it",
    );
}

#[test]
fn passes_and_audits_have_times_of_their_own() {
    let both = mirror("schedule = '30 3 * * *'\nverify = '0 5 * * 0 Europe/Berlin'").unwrap();
    assert_eq!(both.schedule, Schedule::parse("30 3 * * *").ok());
    assert_eq!(both.verify, Schedule::parse("0 5 * * 0 Europe/Berlin").ok());
    assert_eq!(mirror("").unwrap().verify, None);
    let error = mirror("verify = 'sundays'").unwrap_err();
    assert!(error.starts_with("live.toml:4: verify: 'sundays' is not a schedule: "), "{error}");
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    refused("atimes = true", "live.toml:4: atimes is not supported by driftless live yet");
    file_refused(
        "[control]\nlisten = '127.0.0.1:8730'\n",
        "live.toml:2: control.listen is not supported by driftless live yet",
    );
    file_refused(
        "[[mirror]]\nsource = '/web'\ntargets = [\n'/x',\n'h:/x']\n",
        "live.toml:5: h:/x: targets through a remote shell are not supported by driftless live yet; \
         use rsync://host/module or host::module",
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_the_right_one() {
    refused("delete = 'yes'", "live.toml:4: delete takes true or false, not a string");
    refused(
        "exclude = 5",
        "live.toml:4: exclude takes a string or a list of strings, not a number",
    );
    refused("exclude = [\n'a',\n7]", "live.toml:6: exclude takes strings, not a number");
    refused("settle = true", "live.toml:4: settle takes a string or a number, not true or false");
    refused("live = 1", "live.toml:4: live takes true or false, not a number");
    file_refused(
        "mirror = 3\n",
        "live.toml:1: write [[mirror]], with two brackets: there can be several",
    );
    file_refused(
        "[mirror]\nsource = '/web'\n",
        "live.toml:1: write [[mirror]], with two brackets: there can be several",
    );
    file_refused("control = 3\n", "live.toml:1: control is a table, not a number");
    file_refused("mirror = [3]\n", "live.toml:1: mirror is a list of tables, not of a number");
    file_refused(
        "[[mirror]]\nsource = '/web'\ntargets = [4]\n",
        "live.toml:3: a target is a string or a table with url, not a number",
    );
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    refused("settle = '1x'", "live.toml:4: settle: '1x' is no duration like 30s, 1m 30s or 500ms");
    refused(
        "max-delete = '101%'",
        "live.toml:4: max-delete: '101%' is neither a number, nor a share like 50%, nor none",
    );
    refused("protocol = 29", "live.toml:4: protocol: 29 is none of 30, 31, 32");
    refused(
        "compress-choice = 'gzip'",
        "live.toml:4: compress-choice: 'gzip' is none of auto, zstd, lz4, zlibx, zlib, none",
    );
}

#[test]
fn what_is_missing_is_named() {
    file_refused("", "live.toml:1: there is no [[mirror]]");
    file_refused("\n[[mirror]]\nsource = '/web'\n", "live.toml:2: this mirror has no targets");
    file_refused("[[mirror]]\ntargets = '/x'\n", "live.toml:1: this mirror has no source");
    file_refused(
        "[[mirror]]\nsource = '/web'\ntargets = []\n",
        "live.toml:1: a mirror needs at least one target",
    );
    file_refused(
        "[[mirror]]\nsource = '/web'\ntargets = [{ password-file = 'x' }]\n",
        "live.toml:3: this target has no url",
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let one = "[[mirror]]\nsource = '/web'\ntargets = 'h::m'\n";
    file_refused(
        &format!("{one}{one}"),
        "live.toml:4: two mirrors are named 'web'; give one another name",
    );
    for (targets, why) in [
        ("['h::m', 'rsync://h/m']", "rsync://h/m is a target twice"),
        ("['/web/copy']", "the target /web/copy lies in the source /web"),
        ("['/']", "the source /web lies in the target /"),
        (
            "[{ url = '/x', password-file = 'p' }]",
            "the target /x is a directory here and takes no password-file",
        ),
    ] {
        file_refused(
            &format!("[[mirror]]\nsource = '/web'\ntargets = {targets}\n"),
            &format!("live.toml:1: {why}"),
        );
    }
    file_refused(
        "[[mirror]]\nsource = '/web'\ntargets = '/x'\npassword-file = 'p'\n",
        "live.toml:1: password-file is for targets that are rsync daemons; there is none",
    );
}

#[test]
fn what_is_not_toml_is_named_with_its_line() {
    let error = read_text("[[mirror]]\nsource = /web\n").unwrap_err();
    assert!(error.starts_with("live.toml:2: "), "{error}");
    let error = mirror("delete = true\ndelete = true").unwrap_err();
    assert!(error.starts_with("live.toml:5: "), "{error}");
}

#[test]
fn a_password_from_the_environment_serves_where_no_file_does() {
    let at = Circumstances { password: Some(b"secret".to_vec().into()), ..at() };
    let text = "[[mirror]]\nsource = '/web'\n\
                targets = ['h::m', { url = 'h::n', password-file = '/p' }, '/x']\n";
    let config = parse(Path::new("live.toml"), text, &at).unwrap();
    let passwords: Vec<_> =
        config.mirrors[0].targets.iter().map(|target| target.password.clone()).collect();
    assert_eq!(
        passwords,
        [
            PasswordSource::Value(b"secret".to_vec().into()),
            PasswordSource::File("/p".into()),
            PasswordSource::None
        ]
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = read(Path::new("/nonexistent/live.toml"), &at()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration /nonexistent/live.toml");
}
