//! Names that rules protect from deletion. Filter reference, "What filters decide".

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use driftless_filter::{Chain, ReadFile, RuleError, Side};
use driftless_fs::Root;
use driftless_tree::{Kind, RelPath};

use crate::driver::Level;
use crate::error::PushError;
use crate::module::ModuleTerms;
use crate::receiver::Session;
use crate::report::{Role, told_reason};

/// The longest file of rules that is read.
const MAX_RULES_LEN: u64 = 4 << 20;

/// Files of rules at the destination.
struct DestinationFiles<'r> {
    root: &'r Root,
    module: Option<Arc<ModuleTerms>>,
}

impl ReadFile for DestinationFiles<'_> {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        // What lies outside is not ours to read: the name may be the peer's.
        let Ok(path) = RelPath::parse(path) else { return Ok(None) };
        let full = [self.root.path().as_os_str().as_bytes(), b"/", path.as_bytes()];
        if self.module.as_ref().is_some_and(|module| module.hides(&full.concat(), false)) {
            return Ok(None);
        }
        let file = match self.root.open_file(&path) {
            Ok(file) => file,
            Err(_) => return Ok(None),
        };
        let len = file.opened().size.min(MAX_RULES_LEN);
        let mut text = vec![0; len as usize];
        let mut filled = 0;
        while filled < text.len() {
            match file.read_at(filled as u64, &mut text[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        text.truncate(filled);
        Ok(Some(text))
    }
}

/// Where none is to be read.
struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&mut self, _: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

fn fatal(error: RuleError) -> PushError {
    PushError::Fatal { text: error.to_string(), exit: error.exit_code() }
}

impl Session<'_> {
    /// The receiving side's rules without those of files at the destination.
    pub(crate) fn unread_rules(&self) -> Result<Option<Chain>, PushError> {
        let rules = self.receive.rules.clone();
        let chain = rules.map(|rules| Chain::root(rules, Side::Receiver, &mut NoFiles));
        chain.transpose().map_err(fatal)
    }

    /// Whether a rule protects a name in `dir`; `doomed`: the directory itself is being deleted.
    pub(super) fn is_protected(
        &mut self,
        dir: &[u8],
        name: &[u8],
        kind: Kind,
        doomed: bool,
    ) -> Result<bool, PushError> {
        if self.hides(&self.full_path(name), kind == Kind::Dir) {
            return Ok(true);
        }
        let Some(rules) = self.receive.rules.clone() else { return Ok(false) };
        let Some(root) = self.folders.as_ref().map(|folders| folders.root().clone()) else {
            return Ok(false);
        };
        let mut files = DestinationFiles { root: &root, module: self.receive.module.clone() };
        let chains = &mut self.deletions.chains;
        let leads_to = |at: &[u8]| {
            at.is_empty() || dir == at || dir.starts_with(at) && dir.get(at.len()) == Some(&b'/')
        };
        while chains.last().is_some_and(|(at, _)| !leads_to(at)) {
            chains.pop();
        }
        if chains.is_empty() {
            let chain = Chain::root(rules, Side::Receiver, &mut files).map_err(fatal)?;
            chains.push((Vec::new(), chain));
        }
        let Some((known, _)) = chains.last() else { return Ok(false) };
        let rest = dir.get(known.len()..).unwrap_or_default();
        let ends = rest.iter().enumerate().filter(|&(at, &b)| b == b'/' && at > 0);
        let mut ends: Vec<usize> = ends.map(|(at, _)| known.len() + at).collect();
        if !rest.is_empty() {
            ends.push(dir.len());
        }
        for end in ends {
            let Ok(path) = RelPath::parse(&dir[..end]) else { break };
            let Some((_, above)) = chains.last() else { break };
            let chain = above.enter(&path, &mut files).map_err(fatal)?;
            chains.push((dir[..end].to_vec(), chain));
        }
        let Some((_, chain)) = chains.last() else { return Ok(false) };
        let is_dir = kind == Kind::Dir;
        let Some(reason) = chain.reason(name, is_dir, doomed) else { return Ok(false) };
        let protects = !reason.includes();
        let act = if protects { "protecting" } else { "risking" };
        let told = self.options.talk.debug.filter > 0;
        let text = told.then(|| told_reason(Role::Generator, act, name, is_dir, &reason));
        if let Some(text) = text {
            self.say(Level::Info, text);
        }
        Ok(protects)
    }
}
