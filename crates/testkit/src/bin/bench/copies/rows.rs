//! The rows of the table.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::copies::ends::{Cast, Way};
use crate::copies::{Place, trees};

/// One kind of work.
pub struct Row {
    /// The name on the command line.
    pub name: &'static str,
    pub title: &'static str,
    pub options: &'static [&'static str],
    /// Unchanged files are linked to those of [`Place::old`].
    pub links: bool,
    pub ways: &'static [Way],
    pub times: usize,
    /// Makes the source.
    pub prepare: fn(&Place),
    /// Makes what else is needed.
    pub then: fn(&Place),
    /// Before each run.
    pub reset: fn(&Place),
    goals: Goals,
}

/// Shares of what rsync needs that are to be reached.
struct Goals {
    local: Option<f64>,
    local_cpu: Option<f64>,
    /// driftless at both ends.
    remote: Option<f64>,
    remote_cpu: Option<f64>,
    /// rsync at one end.
    mixed: Option<f64>,
}

impl Row {
    /// Shares of wall and processor time.
    pub fn goals(&self, cast: Cast, way: Way) -> (Option<f64>, Option<f64>) {
        let goals = &self.goals;
        match (cast, way) {
            (Cast::Stock, _) => (None, None),
            (Cast::Ours, Way::Local) => (goals.local, goals.local_cpu),
            (Cast::Ours, _) => (goals.remote, goals.remote_cpu),
            _ => (goals.mixed, None),
        }
    }
}

const LOCAL_AND_PUSH: &[Way] = &[Way::Local, Way::Push];

/// The trees stay as they are.
fn keep(_: &Place) {}

fn no_target(place: &Place) {
    trees::remove(&place.target());
}

/// A copy with all attributes.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    trees::remove(to);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cp {}", from.display());
}

fn old_becomes_target(place: &Place) {
    copy(&place.old(), &place.target());
}

fn source_becomes_target(place: &Place) {
    copy(&place.source(), &place.target());
}

fn site(place: &Place) {
    trees::site(&place.source());
}

fn two_gib(place: &Place) {
    trees::noise(&place.source(), 2048);
}

/// All rows, in the order of the table.
pub const ALL: &[Row] = &[
    Row {
        name: "first",
        title: "100,000 files of 0.2-20 KB, first copy",
        options: &["-a"],
        links: false,
        ways: &[Way::Local, Way::Push, Way::Pull],
        times: 1,
        prepare: site,
        then: keep,
        reset: no_target,
        goals: Goals {
            local: Some(0.55),
            local_cpu: Some(0.65),
            remote: Some(0.65),
            remote_cpu: Some(0.70),
            mixed: Some(0.9),
        },
    },
    Row {
        name: "same",
        title: "the same, nothing changed",
        options: &["-a"],
        links: false,
        ways: LOCAL_AND_PUSH,
        times: 1,
        prepare: site,
        then: source_becomes_target,
        reset: keep,
        goals: Goals {
            local: Some(0.55),
            local_cpu: None,
            remote: Some(0.5),
            remote_cpu: None,
            mixed: Some(0.8),
        },
    },
    Row {
        name: "touched",
        title: "1 % of them touched",
        options: &["-a"],
        links: false,
        ways: &[Way::Push],
        times: 1,
        prepare: site,
        then: source_becomes_target,
        reset: |place| {
            static SECONDS: AtomicI64 = AtomicI64::new(1_500_000_000);
            trees::touch_some(&place.source(), SECONDS.fetch_add(1, Ordering::Relaxed));
        },
        goals: Goals {
            local: None,
            local_cpu: None,
            remote: Some(0.55),
            remote_cpu: None,
            mixed: Some(0.85),
        },
    },
    Row {
        name: "million",
        title: "1,000,000 empty files, nothing changed",
        options: &["-a"],
        links: false,
        ways: LOCAL_AND_PUSH,
        times: 1,
        prepare: |place| trees::deep(&place.source()),
        then: source_becomes_target,
        reset: keep,
        goals: Goals {
            local: Some(0.5),
            local_cpu: Some(0.85),
            remote: Some(0.5),
            remote_cpu: Some(0.85),
            mixed: Some(0.8),
        },
    },
    Row {
        name: "large",
        title: "one 2 GiB file, first copy",
        options: &["-a"],
        links: false,
        ways: LOCAL_AND_PUSH,
        times: 1,
        prepare: two_gib,
        then: keep,
        reset: no_target,
        goals: Goals {
            local: Some(0.45),
            local_cpu: None,
            remote: Some(0.85),
            remote_cpu: None,
            mixed: Some(0.95),
        },
    },
    Row {
        name: "edited",
        title: "1 GiB, 1 % changed in 4 KB edits",
        options: &["-a"],
        links: false,
        ways: &[Way::Push],
        times: 1,
        prepare: |place| {
            trees::noise(&place.old(), 1024);
            copy(&place.old(), &place.source());
            trees::edit_some(&place.source(), 1024);
        },
        then: keep,
        reset: old_becomes_target,
        goals: Goals {
            local: None,
            local_cpu: None,
            remote: Some(0.6),
            remote_cpu: Some(0.75),
            mixed: Some(0.85),
        },
    },
    Row {
        name: "inserted",
        title: "1 GiB, 1 KB inserted at the start",
        options: &["-a"],
        links: false,
        ways: &[Way::Push],
        times: 1,
        prepare: |place| {
            trees::noise(&place.old(), 1024);
            trees::with_start(&place.old(), &place.source());
        },
        then: keep,
        reset: old_becomes_target,
        goals: Goals {
            local: None,
            local_cpu: None,
            remote: Some(0.8),
            remote_cpu: None,
            mixed: Some(0.9),
        },
    },
    Row {
        name: "text",
        title: "500 MB of text with -z",
        options: &["-az"],
        links: false,
        ways: &[Way::Push],
        times: 1,
        prepare: |place| trees::text(&place.source(), 500),
        then: keep,
        reset: no_target,
        goals: Goals {
            local: None,
            local_cpu: None,
            remote: Some(0.75),
            remote_cpu: None,
            mixed: Some(0.95),
        },
    },
    Row {
        name: "removal",
        title: "delete 50,000 files",
        options: &["-a", "--delete"],
        links: false,
        ways: &[Way::Push],
        times: 1,
        prepare: |place| trees::empty(&place.source()),
        then: keep,
        reset: |place| {
            trees::empty(&place.target());
            trees::doomed(&place.target());
        },
        goals: Goals {
            local: None,
            local_cpu: None,
            remote: Some(0.5),
            remote_cpu: None,
            mixed: Some(0.9),
        },
    },
    Row {
        name: "checksum",
        title: "-c over 2 GiB",
        options: &["-ac"],
        links: false,
        ways: LOCAL_AND_PUSH,
        times: 1,
        prepare: |place| {
            fs::create_dir_all(place.source()).expect("the folder is ours");
            for file in 0..64 {
                trees::noise(&place.source().join(format!("file{file}")), 32);
            }
        },
        then: source_becomes_target,
        reset: keep,
        goals: Goals {
            local: Some(0.5),
            local_cpu: None,
            remote: Some(0.5),
            remote_cpu: None,
            mixed: Some(0.8),
        },
    },
    Row {
        name: "sessions",
        title: "100 one-file sessions",
        options: &["-aI"],
        links: false,
        ways: &[Way::Push],
        times: 100,
        prepare: |place| trees::noise(&place.source(), 1),
        then: keep,
        reset: no_target,
        goals: Goals {
            local: None,
            local_cpu: None,
            remote: Some(0.04),
            remote_cpu: None,
            mixed: Some(0.10),
        },
    },
    Row {
        name: "snapshot",
        title: "snapshot of the 100,000 with --link-dest",
        options: &["-a"],
        links: true,
        ways: LOCAL_AND_PUSH,
        times: 1,
        prepare: site,
        then: |place| copy(&place.source(), &place.old()),
        reset: no_target,
        goals: Goals {
            local: Some(0.12),
            local_cpu: None,
            remote: Some(0.25),
            remote_cpu: None,
            mixed: Some(0.6),
        },
    },
];
