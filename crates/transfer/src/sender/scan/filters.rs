//! The rules in force while arguments are walked: one set for each transfer root.

use std::io;
use std::sync::Arc;

use driftless_filter::{Chain, ReadFile, RuleError, Rules, Side};
use driftless_fs::operator::{self, Links};
use driftless_fs::{FsError, Root, is_absent};
use driftless_tree::RelPath;

use crate::module::ModuleTerms;
use crate::sender::scan::disk::{join, path_of};

/// Longest file with rules.
const MAX_FILE_LEN: u64 = 64 << 20;

/// Reads files with rules: those found by walking below `root`, others where they say. Links are
/// followed where somebody trusted made them, and what the module hides is not there.
#[derive(Clone)]
pub(crate) struct RuleFiles {
    /// What relative names are relative to; empty for the working directory.
    root: Vec<u8>,
    module: Option<Arc<ModuleTerms>>,
    /// Any link is followed.
    insecure: bool,
}

impl RuleFiles {
    pub(crate) fn new(module: Option<&Arc<ModuleTerms>>, insecure: bool) -> Self {
        Self { root: Vec::new(), module: module.cloned(), insecure }
    }

    fn below(&self, root: &[u8]) -> Self {
        Self { root: root.to_vec(), ..self.clone() }
    }

    fn is_hidden(&self, path: &[u8]) -> bool {
        let Some(module) = &self.module else { return false };
        let base = if self.root.is_empty() { &module.root } else { &self.root };
        module.hides(&join(base, path), false)
    }
}

impl ReadFile for RuleFiles {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if self.is_hidden(path) {
            return Ok(None);
        }
        let whole = || join(&self.root, path);
        let read = match (self.insecure, path.starts_with(b"/") || self.root.is_empty()) {
            (true, _) => operator::read_any(path_of(&whole()), MAX_FILE_LEN, Links::All),
            // A pipe in a module must not hold the session up.
            (false, true) if self.module.is_some() => {
                operator::read(path_of(&whole()), MAX_FILE_LEN)
            }
            (false, true) => operator::read_any(path_of(&whole()), MAX_FILE_LEN, Links::Trusted),
            // The way to the transfer root is the operator's, and was gone already.
            (false, false) => Root::open(path_of(&self.root))
                .map_err(|FsError::Open { source, .. }| source)
                .and_then(|root| operator::read_below(&root, path_of(path), MAX_FILE_LEN)),
        };
        match read {
            Ok(text) => Ok(Some(text)),
            // What the operator named was looked at before anything began.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The rules of all transfer roots.
pub(crate) struct Filters {
    rules: Arc<Rules>,
    files: RuleFiles,
    trees: Vec<Tree>,
}

struct Tree {
    root_path: Vec<u8>,
    files: RuleFiles,
    root: Chain,
    /// Directories below the root on the way to the one asked for last, each in the one before.
    inner: Vec<(RelPath, Chain)>,
}

impl Filters {
    pub(crate) fn new(rules: Rules, files: RuleFiles) -> Self {
        Self { rules: Arc::new(rules), files, trees: Vec::new() }
    }

    /// Whether nothing can match.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn has_xattr(&self) -> bool {
        self.rules.has_xattr()
    }

    /// The number of the transfer root at this absolute path.
    ///
    /// # Errors
    /// A rule in one of its files is none, or cannot be read.
    pub(crate) fn tree_at(&mut self, root_path: &[u8]) -> Result<usize, RuleError> {
        let known = self.trees.iter().position(|tree| tree.root_path == root_path);
        // Without rules all roots are alike.
        if let Some(at) = known.or((self.is_empty() && !self.trees.is_empty()).then_some(0)) {
            return Ok(at);
        }
        let mut files = self.files.below(root_path);
        let rules = Arc::new(self.rules.with_root(root_path));
        let root = Chain::root(rules, Side::Sender, &mut files)?;
        self.trees.push(Tree { root_path: root_path.to_vec(), files, root, inner: Vec::new() });
        Ok(self.trees.len() - 1)
    }

    /// The rules in the directory `dir` of the tree, a name of the lists; `.` is the root. Walks
    /// that go depth-first read each directory's files once.
    pub(crate) fn enter(&mut self, tree: usize, dir: &[u8]) -> Result<Option<Chain>, RuleError> {
        if self.is_empty() {
            return Ok(None);
        }
        let tree = &mut self.trees[tree];
        let Ok(dir) = RelPath::parse(dir) else { return Ok(Some(tree.root.clone())) };
        tree.inner.retain(|(outer, _)| *outer == dir || dir.is_below(outer));
        let known = tree.inner.len();
        for way in dir.ancestors().chain([dir.clone()]).skip(known) {
            let outer = tree.inner.last().map_or(&tree.root, |(_, chain)| chain);
            let chain = outer.enter(&way, &mut tree.files)?;
            tree.inner.push((way, chain));
        }
        Ok(tree.inner.last().map(|(_, chain)| chain.clone()))
    }

    /// Whether the argument of this name is hidden. Its parents are not asked about.
    /// The chain that arguments of this tree are tested with.
    pub(crate) fn root_chain(&self, tree: usize) -> Option<&Chain> {
        (!self.is_empty()).then(|| &self.trees[tree].root)
    }

    pub(crate) fn hides(&mut self, tree: usize, name: &[u8], is_dir: bool) -> bool {
        !self.is_empty() && self.trees[tree].root.check(name, is_dir).is_excluded()
    }
}
