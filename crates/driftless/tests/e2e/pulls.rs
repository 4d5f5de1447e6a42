//! Mirrors whose source is on another machine: runs at set times and on demand.

use std::fs;
use std::path::{Path, PathBuf};

use driftless_testkit::PASSWORD;
use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::live::{LiveCommand, LiveRun};
use driftless_testkit::peer::{Module, RsyncDaemon, write_private};
use driftless_testkit::plant::executable;
use driftless_testkit::wait;

use crate::DRIFTLESS;

/// Never while a test runs.
const NEVER: &str = "0 0 29 2 *";

struct Site {
    folder: tempfile::TempDir,
    daemon: RsyncDaemon,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("pages")).unwrap();
        for number in 0..20 {
            fs::write(site.join(format!("pages/{number}.html")), format!("page {number}")).unwrap();
        }
        fs::write(site.join("cache.tmp"), "not wanted").unwrap();
        std::os::unix::fs::symlink("pages/1.html", site.join("index.html")).unwrap();
        write_private(&folder.path().join("password"), &format!("{PASSWORD}\n"));
        let daemon =
            RsyncDaemon::start(&[Module::book("site").at(&site).chroot().set("read only", "yes")]);
        Self { folder, daemon }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self) -> String {
        format!("rsync://siteuser@127.0.0.1:{}/site", self.daemon.port())
    }

    fn start(&self, source: &str, more: &str) -> LiveRun {
        let file = self.at("live.toml");
        let text = format!(
            "[[mirror]]\nname = 'site-backup'\nsource = '{source}'\ntargets = ['backup']\n\
             live = false\nexclude = ['*.tmp']\n{more}\n"
        );
        fs::write(&file, text).unwrap();
        let shell = self.at("shell");
        // Behind a user and the host.
        let text = "#!/bin/sh\n[ \"$1\" = -l ] && shift 2\nshift\nexec sh -c \"$*\"\n";
        executable(&shell, text);
        let mut run = LiveCommand::configured(DRIFTLESS.as_ref(), &file)
            .env("RSYNC_RSH", shell.to_str().unwrap())
            .start();
        run.wait_target(0, "it waits for its time", |target| {
            matches!(target["state"].as_str(), Some("waiting" | "full-pass"))
        });
        run
    }

    #[track_caller]
    fn equal(&self) {
        let excluded = self.at("site/cache.tmp");
        let text = fs::read(&excluded).unwrap();
        fs::remove_file(&excluded).unwrap();
        // The directory's own time is that of the removal just now.
        let options = CompareOptions { times: false, ..CompareOptions::default() };
        let found = differences(&self.at("site"), &self.at("backup"), &options).unwrap();
        fs::write(&excluded, text).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

fn from_daemon(schedule: &str) -> String {
    format!("schedule = '{schedule}'\npassword-file = 'password'")
}

#[test]
fn a_daemon_is_pulled_from_when_the_time_comes() {
    let site = Site::new();
    let run = site.start(&site.url(), &from_daemon("* * * * *"));
    let status = run.status().unwrap();
    let mirror = &status["mirrors"][0];
    assert_eq!(mirror["name"], "site-backup");
    assert_eq!(mirror["source"], site.url());
    assert!(mirror["next_pass"].as_f64().is_some(), "{mirror}");
    wait::until("the first run", 2 * wait::GENEROUS, || {
        (run.targets()[0]["passes"].as_u64() >= Some(1)).then_some(())
    });
    let target = &run.targets()[0];
    assert!(target["last_pass"]["error"].is_null(), "{target}");
    assert_eq!(target["last_pass"]["files_sent"], 20, "{target}");
    site.equal();
    assert!(run.stderr().contains("the run ended well"), "{}", run.stderr());
}

#[test]
fn a_flush_runs_at_once_through_a_remote_shell() {
    let site = Site::new();
    let source = format!("backup@host:{}", site.at("site").display());
    let run = site.start(&source, &format!("schedule = '{NEVER}'"));
    assert!(!site.at("backup").exists());
    run.flush_everywhere();
    site.equal();
    fs::write(site.at("site/pages/new.html"), "new").unwrap();
    fs::remove_file(site.at("site/pages/3.html")).unwrap();
    run.flush_everywhere();
    site.equal();
}

#[test]
fn more_deletions_than_allowed_wait_for_a_person() {
    let site = Site::new();
    let more = format!("{}\nmax-delete = 2", from_daemon(NEVER));
    let mut run = site.start(&site.url(), &more);
    run.flush_everywhere();
    for number in 0..5 {
        fs::remove_file(site.at(&format!("site/pages/{number}.html"))).unwrap();
    }
    fs::write(site.at("site/pages/new.html"), "new").unwrap();
    let error = run.flush(wait::GENEROUS).unwrap_err();
    assert!(
        error.contains("would delete 5 of 23 names, more than max-delete allows (2)"),
        "{error}"
    );
    assert!(site.at("backup/pages/0.html").exists() && !site.at("backup/pages/new.html").exists());
    assert_eq!(run.targets()[0]["state"], "paused");
    // Runs that come meanwhile are left out.
    assert!(run.flush(wait::GENEROUS).is_err());
    assert!(site.at("backup/pages/0.html").exists());
    assert!(run.control("resume", &["--accept-deletes"]).status.success());
    run.wait_target(0, "the run that a person allowed", |target| {
        target["passes"] == 2 && target["state"] == "waiting"
    });
    site.equal();
}

#[test]
fn a_source_that_cannot_be_reached_is_said_and_nothing_is_lost() {
    let mut site = Site::new();
    let run = site.start(&site.url(), &from_daemon(NEVER));
    run.flush_everywhere();
    site.daemon.kill9();
    let error = run.flush(wait::GENEROUS).unwrap_err();
    assert!(error.contains("cannot connect"), "{error}");
    site.equal();
    let target = &run.targets()[0];
    assert!(target["last_pass"]["error"].as_str().unwrap().contains("cannot connect"), "{target}");
    site.daemon.restart();
    run.flush_everywhere();
    assert!(run.targets()[0]["last_error"].is_null());
}

#[test]
fn a_directory_that_cannot_be_listed_keeps_what_was_below_it() {
    let site = Site::new();
    let source = format!("host:{}", site.at("site").display());
    let run = site.start(&source, &format!("schedule = '{NEVER}'"));
    run.flush_everywhere();
    let gone: &Path = &site.at("site");
    fs::rename(gone, site.at("elsewhere")).unwrap();
    let error = run.flush(wait::GENEROUS).unwrap_err();
    assert!(error.contains("code 23"), "{error}");
    assert!(site.at("backup/pages/0.html").exists());
    fs::rename(site.at("elsewhere"), gone).unwrap();
    run.flush_everywhere();
    site.equal();
}
