//! The kit against the real programs: daemons come up, and both judges agree about a stock push.

use std::fs;
use std::process::Command;

use driftless_testkit::arb::Ops;
use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::netfault::Proxy;
use driftless_testkit::peer::{Module, RsyncDaemon, web_nodes};
use driftless_testkit::scenario::Stage;

fn push(stage: &Stage, url: &str) {
    let status = Command::new("rsync")
        .args(["-aH", "--delete", "-@-1"])
        .arg(format!("--password-file={}", stage.password_file().display()))
        .arg(format!("{}/", stage.source().display()))
        .arg(format!("{url}/"))
        .status()
        .expect("rsync is installed");
    assert!(status.success(), "{status}");
}

#[test]
fn both_judges_find_a_random_tree_pushed_by_stock_rsync_identical() {
    let mut stage = Stage::with("unused", web_nodes(2));
    stage.compare.hard_links = true;
    let mut ops = Ops::new(3, &stage.source(), &stage.outside());
    ops.burst(400);
    assert!(!stage.differences().is_empty());
    push(&stage, &stage.url(0));
    push(&stage, &stage.url(1));
    stage.targets_equal_source();
    stage.stock_rsync_finds_nothing(&[]);
}

#[test]
fn both_judges_find_a_change() {
    let stage = Stage::with("unused", web_nodes(1));
    stage.write("d/page", "one");
    push(&stage, &stage.url(0));
    fs::write(stage.target(0).join("d/page"), "two").unwrap();
    assert!(!stage.differences().is_empty());
    let audit = driftless_testkit::stock::audit(
        &stage.source(),
        &stage.url(0),
        &stage.password_file(),
        &[],
    );
    assert!(!audit.is_empty());
}

#[test]
fn a_chrooted_module_stores_links_as_they_are_and_a_plain_one_munged() {
    let stage = Stage::with(
        "unused",
        vec![
            RsyncDaemon::start(&[Module::book("web1").chroot()]),
            RsyncDaemon::start(&[Module::book("web2")]),
        ],
    );
    std::os::unix::fs::symlink("/etc/passwd", stage.at("link")).unwrap();
    push(&stage, &stage.url(0));
    push(&stage, &stage.url(1));
    let exact = CompareOptions { through_munged_links: false, ..CompareOptions::default() };
    assert!(differences(&stage.source(), stage.target(0), &exact).unwrap().is_empty());
    assert_eq!(differences(&stage.source(), stage.target(1), &exact).unwrap().len(), 1);
    stage.targets_equal_source();
}

#[test]
fn a_killed_daemon_comes_up_again_on_its_port() {
    let mut stage = Stage::with("unused", web_nodes(1));
    let url = stage.url(0);
    stage.daemons[0].kill9();
    assert!(
        !driftless_testkit::stock::audit(&stage.source(), &url, &stage.password_file(), &[])
            .is_empty()
    );
    stage.daemons[0].restart();
    push(&stage, &url);
    assert_eq!(stage.url(0), url);
}

#[test]
fn a_daemon_obeys_a_changed_configuration_at_the_next_session() {
    let mut stage = Stage::with("unused", web_nodes(1));
    push(&stage, &stage.url(0));
    stage.write("page", "one");
    stage.daemons[0].reconfigure("web1", |module| module.set("read only", "yes"));
    let audit = driftless_testkit::stock::audit(
        &stage.source(),
        &stage.url(0),
        &stage.password_file(),
        &[],
    );
    assert!(audit.iter().any(|line| line.contains("read only")), "{audit:?}");
}

#[test]
fn a_push_through_a_proxy_is_counted() {
    let stage = Stage::with("unused", web_nodes(1));
    stage.write("page", driftless_testkit::plant::noise(1, 100_000));
    let proxy = Proxy::start(stage.daemons[0].port());
    push(&stage, &stage.daemons[0].url_through(proxy.port(), "web1"));
    stage.targets_equal_source();
    assert!(proxy.bytes_up() > 100_000 && proxy.bytes_up() < 102_000, "{}", proxy.bytes_up());
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_proxy_can_force_each_digest_of_authentication() {
    for digest in ["sha512", "sha256", "sha1", "md5", "md4"] {
        let stage = Stage::with("unused", web_nodes(1));
        stage.write("page", digest);
        let proxy = Proxy::offering(stage.daemons[0].port(), 0, digest);
        push(&stage, &stage.daemons[0].url_through(proxy.port(), "web1"));
        stage.targets_equal_source();
    }
}
