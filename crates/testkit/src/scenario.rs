//! The ordinary stage of an end-to-end test: a source, some stock daemons, one live mirror.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::compare::{self, CompareOptions};
use crate::live::{LiveCommand, LiveRun, forced};
use crate::peer::{self, Module, RsyncDaemon};
use crate::{PASSWORD, stock};

/// A source folder, a folder outside of it, and stock daemons with one module each.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    binary: PathBuf,
    /// The daemons, in the order of the mirror's targets; their modules are `web1`, `web2`, ….
    pub daemons: Vec<RsyncDaemon>,
    /// How trees are compared.
    pub compare: CompareOptions,
}

impl Stage {
    /// The book's stage with `count` nodes. `binary` is the `driftless` under test.
    ///
    /// # Panics
    /// When something that it needs is missing.
    #[track_caller]
    pub fn book(binary: &str, count: usize) -> Self {
        Self::with(binary, peer::web_nodes(count))
    }

    /// A stage with one node whose module is changed from the book's by `change`.
    ///
    /// # Panics
    /// As [`Stage::book`].
    #[track_caller]
    pub fn with_module(binary: &str, change: impl FnOnce(Module) -> Module) -> Self {
        Self::with(binary, vec![RsyncDaemon::start(&[change(Module::book("web1"))])])
    }

    /// A stage with these daemons, whose modules have to be `web1`, `web2`, ….
    ///
    /// # Panics
    /// As [`Stage::book`].
    #[track_caller]
    pub fn with(binary: &str, daemons: Vec<RsyncDaemon>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stage-")
            .tempdir()
            .expect("the folder for temporary files is writable");
        for name in ["wwwroot", "outside"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is ours");
        }
        peer::write_private(&folder.path().join("server.pass"), &format!("{PASSWORD}\n"));
        // Protocol 30 carries whole seconds only.
        let nanoseconds = !forced().iter().any(|option| option == "--protocol=30");
        let compare = CompareOptions { nanoseconds, ..CompareOptions::default() };
        Self { folder, binary: PathBuf::from(binary), daemons, compare }
    }

    /// The mirror's source.
    pub fn source(&self) -> PathBuf {
        self.folder.path().join("wwwroot")
    }

    /// `name` in the source.
    pub fn at(&self, name: &str) -> PathBuf {
        self.source().join(name)
    }

    /// A folder beside the source, on the same file system.
    pub fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    /// The file with the password of all modules.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("server.pass")
    }

    /// The folder of target number `index`.
    pub fn target(&self, index: usize) -> &Path {
        self.daemons[index].module_path(&module(index))
    }

    /// The address of target number `index`.
    pub fn url(&self, index: usize) -> String {
        self.daemons[index].url(&module(index))
    }

    /// Writes a file in the source, with the folders that it needs.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        let parent = path.parent().expect("a file has a folder");
        fs::create_dir_all(parent).expect("the source is ours");
        fs::write(path, content).expect("the source is ours");
    }

    /// The command that mirrors the source to every daemon.
    pub fn command(&self) -> LiveCommand {
        let targets: Vec<String> = (0..self.daemons.len()).map(|index| self.url(index)).collect();
        self.command_to(&targets)
    }

    /// The command that mirrors the source to `targets`.
    pub fn command_to(&self, targets: &[String]) -> LiveCommand {
        LiveCommand::new(&self.binary, &self.source(), targets).password_file(&self.password_file())
    }

    /// A mirror of the source to every daemon, with more arguments, once it is live.
    ///
    /// # Panics
    /// When it does not get live.
    #[track_caller]
    pub fn live(&self, args: &[&str]) -> LiveRun {
        let command = args.iter().fold(self.command(), |command, arg| command.arg(arg));
        let mut run = command.start();
        run.wait_live();
        run
    }

    /// What differs between the source and the targets, by the own comparer.
    ///
    /// # Panics
    /// When a tree cannot be read.
    #[track_caller]
    pub fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        for index in 0..self.daemons.len() {
            let lines = compare::differences(&self.source(), self.target(index), &self.compare)
                .unwrap_or_else(|e| panic!("cannot compare with target {index}: {e}"));
            found.extend(lines.into_iter().map(|line| format!("{}: {line}", module(index))));
        }
        found
    }

    /// Demands that all targets equal the source, as the own comparer sees it.
    ///
    /// # Panics
    /// With the differences when not.
    #[track_caller]
    pub fn targets_equal_source(&self) {
        let found = self.differences();
        assert!(found.is_empty(), "trees differ:\n{}", first_lines(&found));
    }

    /// Demands the same of stock rsync, and that no temporary files are left.
    ///
    /// # Panics
    /// With what rsync would transfer.
    #[track_caller]
    pub fn stock_rsync_finds_nothing(&self, more: &[&str]) {
        for index in 0..self.daemons.len() {
            let found = stock::audit(&self.source(), &self.url(index), &self.password_file(), more);
            assert!(found.is_empty(), "{}: rsync found:\n{}", module(index), first_lines(&found));
        }
        self.no_temporaries_left();
    }

    /// Demands that no receiver's temporary files are left on the targets.
    ///
    /// # Panics
    /// With their names when some are.
    #[track_caller]
    pub fn no_temporaries_left(&self) {
        for index in 0..self.daemons.len() {
            let left = compare::temporaries(self.target(index))
                .unwrap_or_else(|e| panic!("cannot read target {index}: {e}"));
            assert!(left.is_empty(), "{}: temporary files left: {left:?}", module(index));
        }
    }

    /// Flushes `run` and demands that all targets equal the source, by both judges.
    ///
    /// # Panics
    /// When not.
    #[track_caller]
    pub fn settles(&self, run: &LiveRun) {
        run.flush_everywhere();
        self.targets_equal_source();
        self.stock_rsync_finds_nothing(&[]);
    }
}

fn module(index: usize) -> String {
    format!("web{}", index + 1)
}

fn first_lines(lines: &[String]) -> String {
    let mut text = lines.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    if lines.len() > 40 {
        text.push_str(&format!("\n… and {} more", lines.len() - 40));
    }
    text
}
