//! One module of a daemon's configuration, in the style of the administrator's book.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A module: its name, where it lies, and its lines of configuration.
#[derive(Clone, Debug)]
pub struct Module {
    name: String,
    path: PathBuf,
    lines: Vec<(String, String)>,
}

impl Module {
    /// The book's module: no chroot, written to as root, a user and a secrets file, not listed.
    pub fn book(name: &str) -> Self {
        let lines = [
            ("read only", "no"),
            ("write only", "no"),
            ("hosts allow", "127.0.0.1"),
            ("hosts deny", "*"),
            ("list", "false"),
            ("uid", "root"),
            ("gid", "root"),
        ];
        let lines = lines.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let module = Self { name: name.to_owned(), path: PathBuf::new(), lines }
            .set("auth users", &format!("{name}user"));
        match super::forced_digest() {
            Some(digest) => module.set("auth digest", &digest),
            None => module,
        }
    }

    /// With `key = value`, instead of a line for `key` that is there already.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Self {
        let mut module = self.unset(key);
        module.lines.push((key.to_owned(), value.to_owned()));
        module
    }

    /// Without a line for `key`.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        self.lines.retain(|(present, _)| present != key);
        self
    }

    /// Inside a chroot: symbolic links are stored as they are.
    #[must_use]
    pub fn chroot(self) -> Self {
        self.set("use chroot", "yes")
    }

    /// For everybody, without a password.
    #[must_use]
    pub fn anonymous(self) -> Self {
        self.unset("auth users")
    }

    /// Serving `path` instead of a folder of its own.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.path = path.to_owned();
        self
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder it serves; empty until a daemon has been started with it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The one user who may enter.
    pub fn user(&self) -> String {
        format!("{}user", self.name)
    }

    pub(super) fn is_anonymous(&self) -> bool {
        !self.lines.iter().any(|(key, _)| key == "auth users")
    }

    pub(super) fn settled_below(mut self, folder: &Path) -> Self {
        if self.path.as_os_str().is_empty() {
            self.path = folder.join(&self.name).join("wwwroot");
        }
        self
    }

    pub(super) fn section(&self, folder: &Path) -> String {
        let Self { name, path, .. } = self;
        let mut text = format!("\n[{name}]\npath = {}\ncomment = {name} file\n", path.display());
        // A bare line, as the book has it; the daemon logs and ignores it.
        text.push_str("ignore errors\n");
        for (key, value) in &self.lines {
            writeln!(text, "{key} = {value}").expect("writing to a string");
        }
        if !self.is_anonymous() {
            let secrets = folder.join(format!("{name}.pass"));
            writeln!(text, "secrets file = {}", secrets.display()).expect("writing to a string");
        }
        text
    }
}
