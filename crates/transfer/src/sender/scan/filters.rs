//! The rules in force while arguments are walked: one set for each transfer root.

use std::io;
use std::sync::Arc;

use driftless_filter::{Chain, ReadFile, RuleError, Rules, Side};
use driftless_tree::RelPath;

use crate::sender::scan::disk::{join, path_of};

/// Longest file with rules.
const MAX_FILE_LEN: u64 = 64 << 20;

/// Reads files with rules: those found by walking below `root`, others where they say.
pub(crate) struct RuleFiles {
    /// What relative names are relative to; empty for the working directory.
    pub(crate) root: Vec<u8>,
}

impl ReadFile for RuleFiles {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = if path.starts_with(b"/") { path.to_vec() } else { join(&self.root, path) };
        driftless_fs::browse::read_unchecked(path_of(&path), MAX_FILE_LEN)
    }
}

/// The rules of all transfer roots.
pub(crate) struct Filters {
    rules: Arc<Rules>,
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
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules), trees: Vec::new() }
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
        let mut files = RuleFiles { root: root_path.to_vec() };
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
    pub(crate) fn hides(&mut self, tree: usize, name: &[u8], is_dir: bool) -> bool {
        !self.is_empty() && self.trees[tree].root.check(name, is_dir).is_excluded()
    }
}
