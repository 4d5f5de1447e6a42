//! What is wrong with a configuration, or asks for trouble: where, which parameter, and what to
//! write in its place.

use std::path::Path;

use driftless_fs::operator;
use driftless_tree::Kind as FileKind;
use driftless_tree::path::printable;

use super::params::{self, Key};
use super::{Config, IssueKind, Module, Place, load};
use crate::hosts::{Malformed, Network};
use crate::identity::{BadIds, Ids};
use crate::words;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The daemon does not do what the line says.
    Wrong,
    /// It does, and somebody may be sorry.
    Risky,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The line, where there is one.
    pub place: Option<Place>,
    /// The parameter, empty where there is none.
    pub parameter: String,
    /// What is wrong.
    pub what: String,
    /// What to write.
    pub write: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(Place { file, line }) = &self.place {
            write!(f, "{}:{line}: ", file.display())?;
        }
        let word = if self.severity == Severity::Wrong { "wrong" } else { "risky" };
        write!(f, "{word}: ")?;
        if !self.parameter.is_empty() {
            write!(f, "{}: ", self.parameter)?;
        }
        write!(f, "{}", self.what)?;
        if !self.write.is_empty() {
            write!(f, "; {}", self.write)?;
        }
        Ok(())
    }
}

/// Looks at the configuration at `path`.
pub fn lint(path: &Path) -> Vec<Finding> {
    match load(path, &[]) {
        Ok(config) => {
            let mut lint = Lint { config: &config, findings: Vec::new() };
            lint.lines();
            lint.modules();
            lint.findings
        }
        Err(bad) => vec![Finding {
            severity: Severity::Wrong,
            place: bad.place,
            parameter: String::new(),
            what: bad.lines.join(" "),
            write: "every client is turned away until this is repaired".to_owned(),
        }],
    }
}

struct Lint<'a> {
    config: &'a Config,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn add(
        &mut self,
        severity: Severity,
        place: Option<Place>,
        key: &str,
        what: impl Into<String>,
        write: impl Into<String>,
    ) {
        let (what, write) = (what.into(), write.into());
        self.findings.push(Finding { severity, place, parameter: key.to_owned(), what, write });
    }

    /// Lines that are ignored.
    fn lines(&mut self) {
        for issue in &self.config.issues {
            let place = Some(issue.place.clone());
            let wrong = Severity::Wrong;
            match &issue.kind {
                IssueKind::Unknown(name) => {
                    let shown = printable(name);
                    let write = params::nearest(name).map_or_else(String::new, |near| {
                        format!("did you mean \"{}\"?", near.name)
                    });
                    self.add(wrong, place, &shown, "no parameter has this name", write);
                }
                IssueKind::Bare(text) => {
                    let shown = printable(text);
                    let write = match params::find(text) {
                        Some(param) => format!("write \"{} = yes\" to turn it on", param.name),
                        None => "write NAME = VALUE".to_owned(),
                    };
                    self.add(wrong, place, &shown, "a line without \"=\" sets nothing", write);
                }
                IssueKind::NotBoolean(key, value) => {
                    let what = format!("\"{}\" is neither yes nor no", printable(value));
                    self.add(wrong, place, key.param().name, what, "write yes or no");
                }
                IssueKind::GlobalInModule(key) => {
                    let what = "it counts for the whole daemon and is ignored in a module";
                    let write = "put it before the first section";
                    self.add(wrong, place, key.param().name, what, write);
                }
            }
        }
        for setting in &self.config.settings {
            let (name, value) = (setting.key.param().name, &setting.value);
            let place = Some(setting.place.clone());
            match setting.key {
                Key::RefuseOptions if value.contains(&b',') => {
                    let what =
                        "words are separated by blanks alone: with a comma nothing is refused";
                    let shown = printable(value).replace(',', " ");
                    self.add(Severity::Wrong, place, name, what, format!("write \"{shown}\""));
                }
                Key::HostsAllow | Key::HostsDeny | Key::ProxyProtocolHosts => {
                    for word in words::hosts(value) {
                        let numeric = word.iter().all(|b| b"0123456789abcdef.:/%".contains(b))
                            && word.iter().any(|b| b".:".contains(b));
                        let Err(bad) = Network::parse(&word) else { continue };
                        if numeric && word.iter().any(u8::is_ascii_digit) {
                            let shown = printable(&word);
                            let what = match bad {
                                Malformed::Mask => format!("{shown} has a mask that is none"),
                                Malformed::Address => format!("{shown} is no address"),
                            };
                            let write = "write ADDRESS/BITS, for instance 192.168.1.0/24";
                            self.add(Severity::Wrong, place.clone(), name, what, write);
                        }
                    }
                }
                Key::AuthUsers if value.windows(2).any(|pair| pair == b" :" || pair == b": ") => {
                    let what =
                        "a blank beside the colon belongs to the name or is a word of its own";
                    self.add(Severity::Wrong, place, name, what, "write USER:rw");
                }
                Key::Name => {
                    let what = "the module's name on the wire differs from its section's";
                    self.add(Severity::Risky, place, name, what, "name the section so");
                }
                _ => {}
            }
        }
    }

    /// The last line that set the parameter for the module.
    fn place(&self, module: &Module<'_>, key: Key) -> Option<Place> {
        let own = module.section.name.as_slice();
        let settings = || self.config.settings.iter().rev().filter(|one| one.key == key);
        let of_module = settings().find(|one| one.module.as_deref() == Some(own));
        let found = of_module.or_else(|| settings().find(|one| one.module.is_none()));
        found.map(|setting| setting.place.clone())
    }

    fn modules(&mut self) {
        let modules: Vec<Module<'_>> = self.config.modules().collect();
        for module in modules {
            self.module(&module);
        }
    }

    fn module(&mut self, module: &Module<'_>) {
        use Severity::{Risky, Wrong};
        let shown = printable(module.name());
        let raw = |key| module.raw(key).unwrap_or_default();
        let path = raw(Key::Path);
        let file = |path: &[u8]| {
            use std::os::unix::ffi::OsStrExt;
            operator::stat(Path::new(std::ffi::OsStr::from_bytes(path)))
        };
        if path.is_empty() {
            let write = format!("write \"path = DIRECTORY\" in [{shown}]");
            self.add(Wrong, None, "path", format!("module {shown} has none"), write);
        } else if !path.contains(&b'%') && !file(path).is_ok_and(|meta| meta.kind == FileKind::Dir)
        {
            let what = format!("{} is no directory that can be entered", printable(path));
            self.add(Wrong, self.place(module, Key::Path), "path", what, "make it");
        }
        self.identity(module, &shown);
        let has_users = !raw(Key::AuthUsers).is_empty();
        let secrets = raw(Key::SecretsFile);
        if has_users {
            self.secrets(module, &shown, secrets, file(secrets).ok());
        }
        if !module.flag(Key::ReadOnly) && !has_users && raw(Key::HostsAllow).is_empty() {
            let what = format!("everybody who reaches the port may write to module {shown}");
            let write = "write \"auth users\" or \"hosts allow\", or \"read only = yes\"";
            self.add(Risky, self.place(module, Key::ReadOnly), "read only", what, write);
        }
        let no_chroot = module.tri(Key::UseChroot) == Some(false);
        if no_chroot && matches!(raw(Key::Uid), b"root" | b"0") && !module.flag(Key::ReadOnly) {
            let what = format!(
                "sessions in module {shown} write as root without chroot; only the confinement of \
                 each session is between a client and the rest"
            );
            let write = "write \"use chroot = yes\", or a uid of its own";
            self.add(Risky, self.place(module, Key::UseChroot), "use chroot", what, write);
        }
        if module.flag(Key::InsecureLinks) {
            let what = format!("module {shown} follows links that lead out of it");
            self.add(Risky, self.place(module, Key::InsecureLinks), "insecure links", what, "");
        }
    }

    fn identity(&mut self, module: &Module<'_>, shown: &str) {
        let (uid, gid) = (module.raw(Key::Uid), module.raw(Key::Gid));
        let (uid, gid) = (uid.unwrap_or_default(), gid.unwrap_or_default());
        if uid.contains(&b'%') || gid.contains(&b'%') {
            return;
        }
        match Ids::find(uid, gid) {
            Ok(_) => {}
            Err(BadIds::Uid(name)) => {
                let what = format!("there is no user {name}, and nobody enters module {shown}");
                let place = self.place(module, Key::Uid);
                self.add(Severity::Wrong, place, "uid", what, "write one that exists");
            }
            Err(BadIds::Gid(name)) => {
                let what = format!("there is no group {name}, and nobody enters module {shown}");
                let write = match name.as_str() {
                    "nobody" => "write \"gid = nogroup\"",
                    _ => "write one that exists",
                };
                self.add(Severity::Wrong, self.place(module, Key::Gid), "gid", what, write);
            }
            Err(BadIds::GidSetting) => {
                let what = format!("the user of module {shown} has no account to take groups from");
                let place = self.place(module, Key::Gid);
                self.add(Severity::Wrong, place, "gid", what, "name the groups");
            }
        }
    }

    fn secrets(
        &mut self,
        module: &Module<'_>,
        shown: &str,
        path: &[u8],
        meta: Option<driftless_tree::Meta>,
    ) {
        let place = self.place(module, Key::SecretsFile);
        let name = "secrets file";
        let path = printable(path);
        let Some(meta) = meta else {
            let what = format!("module {shown} has users and no secrets file: nobody enters");
            let write = "make one with lines USER:PASSWORD and mode 600";
            self.add(Severity::Wrong, place, name, what, write);
            return;
        };
        let strict = module.flag(Key::StrictModes);
        if meta.mode & 0o006 != 0 {
            let severity = if strict { Severity::Wrong } else { Severity::Risky };
            let what = format!("others may read or write {path}");
            self.add(severity, place.clone(), name, what, format!("chmod 600 {path}"));
        }
        if strict && meta.uid != 0 {
            let what = format!("{path} does not belong to root, and a daemon of root ignores it");
            self.add(Severity::Wrong, place, name, what, format!("chown root {path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_finding_names_line_parameter_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("secrets"), "a:b\n").unwrap();
        fs::set_permissions(at("secrets"), fs::Permissions::from_mode(0o644)).unwrap();
        let base = dir.path().display();
        fs::write(
            at("c"),
            format!(
                "gid = no-such-group\n[m]\npath = {base}\nignore errors\nlist = on\nhosts alow = x\n\
                 hosts deny = 10.0.0.0/33\nrefuse options = delete,checksum\nauth users = a : rw\n\
                 secrets file = {base}/secrets\n[open]\npath = {base}/none\nread only = no\n\
                 uid = root\ngid = root\nuse chroot = no\nport = 1\n"
            ),
        )
        .unwrap();
        let findings = lint(&at("c"));
        let lines: Vec<(usize, &str)> = findings
            .iter()
            .map(|one| (one.place.as_ref().map_or(0, |place| place.line), one.parameter.as_str()))
            .collect();
        for expected in [
            (4, "ignore errors"),
            (5, "list"),
            (6, "hosts alow"),
            (7, "hosts deny"),
            (8, "refuse options"),
            (9, "auth users"),
            (1, "gid"),
            (10, "secrets file"),
            (12, "path"),
            (13, "read only"),
            (16, "use chroot"),
            (17, "port"),
        ] {
            assert!(lines.contains(&expected), "{expected:?} is not among {lines:?}");
        }
        assert!(findings.iter().any(|one| one.write == "did you mean \"hosts allow\"?"));
        assert!(
            findings.iter().any(|one| one.write == "write \"ignore errors = yes\" to turn it on")
        );
    }

    #[test]
    fn a_sound_configuration_has_no_findings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let base = dir.path().display();
        fs::write(&path, format!("[m]\npath = {base}\nuid = root\ngid = root\n")).unwrap();
        assert_eq!(lint(&path), []);
        fs::write(&path, "[m\n").unwrap();
        assert_eq!(lint(&path).len(), 1);
    }
}
