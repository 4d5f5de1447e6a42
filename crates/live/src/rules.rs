//! The mirror's filter rules as asked of one path or one directory.
//!
//! The same engine decides what a walk lists and which events matter.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use driftless_filter::{Chain, ParseOptions, ReadFile, Rules, Side, decide};
use driftless_fs::Root;
use driftless_tree::RelPath;

/// Rules over one source. Cheap to clone.
#[derive(Clone)]
pub struct SourceRules {
    rules: Arc<Rules>,
    root: Root,
}

/// Reads per-directory rule files below a root.
struct BelowRoot<'a>(&'a Root);

impl ReadFile for BelowRoot<'_> {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        // Rules may name files above the root, absolutely.
        let Ok(path) = RelPath::parse(path) else { return OperatorFiles.read(path) };
        let file = match self.0.open_file(&path) {
            Ok(file) => file,
            Err(error) if driftless_fs::is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = vec![0; usize::try_from(file.meta()?.size).unwrap_or(0).min(1 << 20)];
        let mut len = 0;
        while len < text.len() {
            match file.read_at(len as u64, &mut text[len..])? {
                0 => break,
                read => len += read,
            }
        }
        text.truncate(len);
        Ok(Some(text))
    }
}

/// Reads the operator's rule files, named on the command line or in the configuration.
struct OperatorFiles;

impl ReadFile for OperatorFiles {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(path);
        match std::fs::File::open(path) {
            Ok(file) => {
                let mut text = Vec::new();
                file.take(1 << 24).read_to_end(&mut text)?;
                Ok(Some(text))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The walk state of the directories that one batch or pass visits, for one end of it.
pub struct Chains {
    rules: Arc<Rules>,
    side: Side,
    /// Where per-directory files are read.
    root: Root,
    known: HashMap<Option<RelPath>, Option<Chain>>,
}

impl SourceRules {
    /// Parses the rules given for the source `root`.
    ///
    /// # Errors
    /// The first rule or file that is wrong, with its place.
    pub fn parse(
        given: &[driftless_filter::Given],
        root: &Root,
    ) -> Result<Self, driftless_filter::RuleError> {
        use std::os::unix::ffi::OsStrExt;
        let options = ParseOptions {
            delete_excluded: false,
            from0: false,
            protocol: driftless_transfer::TransferOptions::default().protocol,
            root: root.path().as_os_str().as_bytes().to_vec(),
            home_cvsignore: std::env::var_os("HOME")
                .map(|home| Path::new(&home).join(".cvsignore"))
                .and_then(|file| std::fs::read(file).ok()),
            cvsignore: std::env::var_os("CVSIGNORE").map(OsString::into_encoded_bytes),
        };
        let rules = Rules::parse(given, &options, &mut OperatorFiles)?;
        Ok(Self { rules: Arc::new(rules), root: root.clone() })
    }

    /// Whether everything is included.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the path, reached by a walk from the root, is part of the mirror. A rule file that
    /// cannot be read excludes nothing.
    pub fn includes(&self, path: &RelPath, is_dir: bool) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        let mut files = BelowRoot(&self.root);
        match decide(&self.rules, Side::Sender, path, is_dir, &mut files) {
            Ok(verdict) => !verdict.is_excluded(),
            Err(_) => true,
        }
    }

    /// Whether the path is a per-directory rule file, which decides about its neighbours.
    pub fn is_rule_file(&self, path: &RelPath) -> bool {
        self.rules.per_dir_names().any(|name| name == path.file_name())
    }

    /// The rules as sent to a receiving side; `None` when there are none.
    ///
    /// # Errors
    /// A rule that the protocol cannot carry.
    pub fn wire_texts(
        &self,
        protocol: u8,
    ) -> Result<Option<Vec<Vec<u8>>>, driftless_filter::RuleError> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        self.rules.wire_texts(protocol, false).map(Some)
    }

    /// The walk state for one batch or pass.
    pub fn chains(&self) -> Chains {
        self.chains_at(Side::Sender, &self.root)
    }

    /// The walk state of the receiving side, whose tree is `target` and has rule files of its own.
    pub fn protection(&self, target: &Root) -> Chains {
        self.chains_at(Side::Receiver, target)
    }

    fn chains_at(&self, side: Side, root: &Root) -> Chains {
        let rules = Arc::clone(&self.rules);
        Chains { rules, side, root: root.clone(), known: HashMap::new() }
    }
}

impl Chains {
    fn chain(&mut self, dir: Option<&RelPath>) -> Option<Chain> {
        if let Some(chain) = self.known.get(&dir.cloned()) {
            return chain.clone();
        }
        let mut files = BelowRoot(&self.root);
        let chain = match dir {
            None => Chain::root(Arc::clone(&self.rules), self.side, &mut files).ok(),
            Some(path) => {
                let above = path.parent();
                let outer = self.chain(above.as_ref());
                let mut files = BelowRoot(&self.root);
                outer.and_then(|outer| outer.enter(path, &mut files).ok())
            }
        };
        self.known.insert(dir.cloned(), chain.clone());
        chain
    }

    /// Whether the name `path`, found directly in the directory `dir` by a walk, is part of the
    /// mirror. Directories above are not asked again.
    pub fn includes(&mut self, dir: Option<&RelPath>, path: &RelPath, is_dir: bool) -> bool {
        self.includes_raw(dir, path.as_bytes(), is_dir)
    }

    /// As [`Chains::includes`], for a path that was checked elsewhere.
    pub fn includes_raw(&mut self, dir: Option<&RelPath>, path: &[u8], is_dir: bool) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        match self.chain(dir) {
            Some(chain) => !chain.check(path, is_dir).is_excluded(),
            None => true,
        }
    }

    /// Whether the name `path` in `dir` must not be deleted. `doomed`: the directory itself is being
    /// deleted. Where a rule file cannot be read, everything is protected.
    pub fn protects(
        &mut self,
        dir: Option<&RelPath>,
        path: &RelPath,
        is_dir: bool,
        doomed: bool,
    ) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let Some(chain) = self.chain(dir) else { return true };
        let verdict = match doomed {
            true => chain.check_in_deleted(path.as_bytes(), is_dir),
            false => chain.check(path.as_bytes(), is_dir),
        };
        verdict.is_excluded()
    }

    /// Forgets the state of directories that a walk has left, all but the root's.
    pub fn forget(&mut self) {
        if self.known.len() > 4096 {
            self.known.retain(|dir, _| dir.is_none());
        }
    }
}
