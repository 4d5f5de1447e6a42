//! Comparing a module with the source: a full pass by checksum as a dry run.

use std::time::Duration;

use driftless_transfer::{ItemChange, Listed, TransferOptions, TreePush, push_tree};
use driftless_tree::RelPath;

use super::advice::explain_comparison;
use super::pass_session::PassDriver;
use super::{RsyncTarget, prefix, split, traffic};
use crate::lane::report::{Comparison, Failure, LaneError, PassReport};
use crate::lane::state::Lane;
use crate::lane::verify::Chosen;
use crate::lane::work::View;
use crate::pass::PassSource;
use crate::status::Aspect;

/// Longest silence: a daemon says nothing while it reads one large file.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);

impl RsyncTarget {
    pub(super) fn dry_run_by_checksum(
        &mut self,
        view: &View,
        chosen: Option<&Chosen>,
        lane: &Lane,
    ) -> Comparison {
        self.bound(lane);
        let mut comparison = Comparison::new();
        let rules = match self.prepare(view) {
            Ok(rules) => rules,
            Err(error) => {
                comparison.end = Err(error);
                return comparison;
            }
        };
        let push = TreePush {
            // Without the neighbours of chosen names, those would seem to be too many.
            delete: self.deletes() && chosen.is_none_or(Chosen::has_extra),
            force: self.delete && !self.refused.force,
            filter_texts: rules,
            checksum: true,
            dry_run: true,
            ..TreePush::default()
        };
        let options =
            TransferOptions { silence_limit: Some(SILENCE_LIMIT), ..self.options.clone() };
        let cancelled = || lane.cancelled();
        let mut source = PassSource::new(&view.root, &view.rules, &view.links, &options, None)
            .only(chosen)
            .unless(&cancelled);
        let mut driver = PassDriver::new(view, lane, self.settle, false).comparing(comparison);
        let result = push_tree(&self.peer, &options, push, &mut source, &mut driver);
        let (outcome, error) = split(result);
        self.learn(&outcome);
        let mut comparison = driver.comparison.take().unwrap_or_else(Comparison::new);
        comparison.traffic = traffic(&outcome);
        comparison.compared = source.presence.count();
        if let Some(error) = error {
            comparison.end = Err(match self.lane_error(&error, false) {
                LaneError::Failed(_) => LaneError::Failed(explain_comparison(&error)),
                other => other,
            });
            return comparison;
        }
        let mut report = PassReport { presence: source.presence, ..PassReport::new() };
        driver.report(&prefix(&self.peer.url), source.groups.values(), &mut report);
        comparison.failed = report.failed;
        comparison.unmatched = report.unmatched;
        let unread = source.undigested.into_iter();
        comparison.failed.extend(
            unread
                .map(|(path, error)| (path, Failure::lasting(format!("cannot be read: {error}")))),
        );
        let explained = !comparison.failed.is_empty() || !comparison.unmatched.is_empty();
        if outcome.error_xfer && !explained {
            comparison.unmatched.push("the target could not look at everything".to_owned());
        }
        comparison.leave_out_failed();
        if let Some(chosen) = chosen {
            comparison.found.retain(|found| chosen.includes(found.path.as_ref()));
        }
        comparison
    }
}

/// What the receiving side found of an entry. Protocol reference, "Item attributes".
pub(super) fn aspects(item: &Listed<'_>, change: ItemChange) -> Vec<Aspect> {
    if change.is_new() {
        return vec![Aspect::Missing];
    }
    let aspects = [
        (change.differs_in_content(item.entry.kind()), Aspect::Content),
        (change.is_linked(), Aspect::HardLink),
        (change.differs_in_mode(), Aspect::Mode),
        (change.differs_in_owner(), Aspect::Owner),
        (change.differs_in_group(), Aspect::Group),
        (change.differs_in_time(), Aspect::Time),
        (change.differs_in_acl(), Aspect::Acl),
        (change.differs_in_xattrs(), Aspect::Xattr),
    ];
    aspects.into_iter().filter(|(differs, _)| *differs).map(|(_, aspect)| aspect).collect()
}

/// A name that the receiving side would delete.
pub(super) fn extra(name: &[u8]) -> Option<RelPath> {
    RelPath::parse(name.strip_suffix(b"/").unwrap_or(name)).ok()
}
