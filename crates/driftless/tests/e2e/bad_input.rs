//! What bad input gets: one clear line with what, where and why; a live lane backs off with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use driftless_testkit::live::LiveCommand;
use driftless_testkit::netfault::{FakePeer, Proxy, Step};
use driftless_testkit::peer::{self, free_port};
use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;

use crate::DRIFTLESS;

/// A lane to `url` backs off and its error names each of `words`.
#[track_caller]
fn backs_off(stage: &Stage, url: &str, words: &[&str]) {
    stage.write("page", "1");
    let mut run = stage.command_to(&[url.to_owned()]).start();
    let target = run.wait_target(0, "the lane backs off with a reason", |target| {
        target["state"] == "backing-off" && !target["last_error"].is_null()
    });
    let error = target["last_error"].as_str().unwrap();
    for word in words {
        assert!(error.contains(word), "{error:?} does not name {word:?}");
    }
    assert_eq!(error.lines().count(), 1, "{error:?}");
    assert!(!target["next_retry"].is_null());
    assert!(!run.stderr().contains("panicked"), "{}", run.stderr());
}

/// The command ends at once with an exit other than 0 and a message that names each of `words`.
#[track_caller]
fn is_refused(command: LiveCommand, words: &[&str]) {
    let output = command.refused();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    for word in words {
        assert!(text.contains(word), "{text:?} does not name {word:?}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_wrong_password() {
    let stage = Stage::book(DRIFTLESS, 1);
    peer::write_private(&stage.password_file(), "wrong\n");
    backs_off(&stage, &stage.url(0), &["authentication", "web1user", "web1", "secrets file"]);
}

#[test]
fn no_password_at_all() {
    let stage = Stage::book(DRIFTLESS, 1);
    let command = LiveCommand::new(DRIFTLESS.as_ref(), &stage.source(), &[stage.url(0)]);
    let mut run = command.start();
    let ended = driftless_testkit::wait::until(
        "it ends or backs off",
        driftless_testkit::wait::GENEROUS,
        || {
            if run.ended().is_some() {
                return Some(run.stderr());
            }
            run.targets()
                .first()
                .and_then(|target| target["last_error"].as_str().map(str::to_owned))
        },
    );
    assert!(ended.contains("password"), "{ended}");
}

#[test]
fn an_unknown_module() {
    let stage = Stage::book(DRIFTLESS, 1);
    let url = stage.url(0).replace("/web1", "/web9");
    backs_off(&stage, &url, &["web9", "nknown module", "rsyncd.conf"]);
}

#[test]
fn a_read_only_module() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("read only", "yes"));
    backs_off(&stage, &stage.url(0), &["read only", "set read only = no"]);
}

#[test]
fn a_refused_option() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("refuse options", "times"));
    backs_off(&stage, &stage.url(0), &["refuse", "times", "refuse options"]);
}

#[test]
fn a_host_that_may_not_enter() {
    let stage = Stage::with_module(DRIFTLESS, |module| {
        module.set("hosts allow", "10.1.2.3").set("list", "true")
    });
    backs_off(&stage, &stage.url(0), &["access denied to web1", "rsyncd.conf"]);
}

#[test]
fn an_unreachable_host() {
    let stage = Stage::book(DRIFTLESS, 1);
    let port = free_port();
    let url = stage.daemons[0].url_through(port, "web1");
    backs_off(&stage, &url, &["127.0.0.1", &port.to_string(), "refused", "is the daemon running"]);
}

#[test]
fn a_host_name_that_does_not_exist() {
    let stage = Stage::book(DRIFTLESS, 1);
    backs_off(&stage, "rsync://web1user@no-such-host.invalid/web1", &["no-such-host.invalid"]);
}

#[test]
fn a_daemon_that_is_not_rsync() {
    let stage = Stage::book(DRIFTLESS, 1);
    let peer = FakePeer::start(vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), Step::Hold]);
    let url = stage.daemons[0].url_through(peer.port(), "web1");
    backs_off(&stage, &url, &["no rsync daemon", "SSH-2.0", "check the host and the port"]);
}

#[test]
fn a_peer_that_closes_at_once() {
    let stage = Stage::book(DRIFTLESS, 1);
    let peer = FakePeer::start(vec![]);
    backs_off(&stage, &stage.daemons[0].url_through(peer.port(), "web1"), &["closed"]);
}

#[test]
fn a_peer_that_talks_nonsense_after_the_greeting() {
    for seed in 0..20 {
        let stage = Stage::book(DRIFTLESS, 1);
        let peer = FakePeer::start(vec![
            Step::Send(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n".to_vec()),
            Step::ReadLine,
            Step::ReadLine,
            Step::Send(b"@RSYNCD: OK\n".to_vec()),
            Step::Send(plant::noise(seed, 5_000)),
        ]);
        backs_off(&stage, &stage.daemons[0].url_through(peer.port(), "web1"), &[]);
    }
}

#[test]
fn a_peer_that_sends_a_line_without_end() {
    let stage = Stage::book(DRIFTLESS, 1);
    let peer = FakePeer::start(vec![Step::Send(vec![b'@'; 10 << 20]), Step::Hold]);
    backs_off(&stage, &stage.daemons[0].url_through(peer.port(), "web1"), &[]);
}

#[test]
fn a_peer_that_closes_in_the_middle_of_a_transfer() {
    let stage = Stage::book(DRIFTLESS, 1);
    let proxy = Proxy::start(stage.daemons[0].port());
    proxy.cut_after(100_000);
    stage.write("large", plant::noise(1, 1_000_000));
    backs_off(&stage, &stage.daemons[0].url_through(proxy.port(), "web1"), &["closed"]);
}

#[test]
fn a_missing_source() {
    let stage = Stage::book(DRIFTLESS, 1);
    let missing = stage.outside().join("no-such-folder");
    let command = LiveCommand::new(DRIFTLESS.as_ref(), &missing, &[stage.url(0)]);
    is_refused(
        command.password_file(&stage.password_file()),
        &["no-such-folder", "No such file", "source in the configuration"],
    );
}

#[test]
fn a_source_that_is_a_file() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "1");
    let command = LiveCommand::new(DRIFTLESS.as_ref(), &stage.at("page"), &[stage.url(0)]);
    is_refused(command.password_file(&stage.password_file()), &["page", "director"]);
}

#[test]
fn a_password_file_that_others_can_read() {
    let stage = Stage::book(DRIFTLESS, 1);
    fs::set_permissions(stage.password_file(), fs::Permissions::from_mode(0o644)).unwrap();
    is_refused(stage.command(), &["server.pass", "other", "chmod 600"]);
}

#[test]
fn a_password_file_that_does_not_exist() {
    let stage = Stage::book(DRIFTLESS, 1);
    fs::remove_file(stage.password_file()).unwrap();
    is_refused(stage.command(), &["server.pass", "No such file", "first line"]);
}

#[test]
fn a_target_that_is_no_address() {
    let stage = Stage::book(DRIFTLESS, 1);
    let targets = ["rsync://127.0.0.1".to_owned()];
    is_refused(stage.command_to(&targets), &["rsync://127.0.0.1", "module"]);
}

#[test]
fn an_unknown_configuration_key() {
    let stage = Stage::book(DRIFTLESS, 1);
    let file = stage.outside().join("driftless.toml");
    fs::write(
        &file,
        format!(
            "[[mirror]]\nname = \"wwwroot\"\nsource = {:?}\ntargets = [{:?}]\npasswordfile = \"x\"\n",
            stage.source(),
            stage.url(0)
        ),
    )
    .unwrap();
    let command = LiveCommand::configured(DRIFTLESS.as_ref(), &file);
    is_refused(command, &["driftless.toml", "5", "passwordfile", "password-file"]);
}

#[test]
fn a_configuration_that_does_not_exist() {
    let stage = Stage::book(DRIFTLESS, 1);
    let command = LiveCommand::configured(DRIFTLESS.as_ref(), &stage.outside().join("none.toml"));
    is_refused(command, &["none.toml", "No such file", "after -c"]);
}

#[test]
fn a_filter_rule_that_is_none() {
    let stage = Stage::book(DRIFTLESS, 1);
    let command = stage.command().arg("--filter").arg("zzz");
    is_refused(command, &["Unknown filter rule: zzz", "correct it in"]);
}

#[test]
fn an_unknown_option() {
    let stage = Stage::book(DRIFTLESS, 1);
    is_refused(stage.command().arg("--hard-link"), &["--hard-link", "--hard-links"]);
}

#[test]
fn commands_without_a_running_mirror() {
    for command in ["status", "flush", "pause", "resume", "resync", "verify"] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control");
        let output = std::process::Command::new(DRIFTLESS)
            .arg(command)
            .arg("--control")
            .arg(&socket)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(text.contains(socket.to_str().unwrap()), "{command}: {text}");
    }
}
