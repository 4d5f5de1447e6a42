//! Looking at what a mirror needs before it runs: its source, and whether its targets answer.

use driftless_fs::Root;
use driftless_watch::WatchOptions;
use driftless_watch::survey::{Survey, survey};

use crate::config::{Destination, MirrorConfig, TargetConfig};
use crate::lane::rsync::RsyncTarget;
use crate::mirror::chain;
use crate::rules::SourceRules;

/// How the source of a mirror would be watched.
///
/// # Errors
/// Why it cannot be, in one line.
pub fn source(config: &MirrorConfig) -> Result<Survey, String> {
    let root = Root::open(&config.source).map_err(|error| chain(&error))?;
    let rules = SourceRules::parse(&config.rules, &root).map_err(|error| error.to_string())?;
    let options = WatchOptions {
        backend: config.backend,
        skip: Box::new(move |dir| !rules.includes(dir, true)),
        ..WatchOptions::default()
    };
    survey(&config.source, &options).map_err(|error| chain(&error))
}

/// Whether a target answers: a daemon lets us into the module, a directory is there. Nothing is
/// transferred.
///
/// # Errors
/// Why not, in one line.
pub fn target(config: &MirrorConfig, target: &TargetConfig) -> Result<(), String> {
    match &target.destination {
        Destination::Daemon(url) => {
            let mut lane = RsyncTarget::new(
                url.clone(),
                target.password.clone(),
                config.options.clone(),
                config.delete,
                config.settle,
            );
            lane.reach().map_err(|error| error.to_string())
        }
        Destination::Local(path) => match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(_) => Err("it is not a directory".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    }
}
