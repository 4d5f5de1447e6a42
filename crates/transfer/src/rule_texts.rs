//! Files of rules that an operator names, each read once.
//!
//! Both ends of a copy within one machine need them, and what is a pipe says everything but once.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use driftless_filter::ReadFile;

/// A file by its name, and how often that was named before it: a pipe that is named again is empty.
type Key = (Vec<u8>, u32);

/// What has been read for a request.
#[derive(Debug, Clone, Default)]
pub struct RuleTexts(Arc<Mutex<HashMap<Key, Option<Vec<u8>>>>>);

/// Reads what nobody has read yet.
pub(crate) struct ReadOnce<F> {
    files: F,
    texts: RuleTexts,
    named: HashMap<Vec<u8>, u32>,
}

impl<F: ReadFile> ReadOnce<F> {
    pub(crate) fn new(files: F, texts: &RuleTexts) -> Self {
        Self { files, texts: texts.clone(), named: HashMap::new() }
    }
}

impl<F: ReadFile> ReadFile for ReadOnce<F> {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let times = self.named.entry(path.to_vec()).or_default();
        let key = (path.to_vec(), *times);
        *times += 1;
        let mut known = self.texts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.get(&key) {
            return Ok(text.clone());
        }
        let text = self.files.read(path)?;
        known.insert(key, text.clone());
        Ok(text)
    }
}
