//! What each event means as hints.
//!
//! An event says that something happened to a name in a directory, not when, and not where that
//! directory was at the time. It is told at the path that the directory has by what is known; the
//! renames that are still to be taken carry that on, since a rename of a directory speaks for all
//! below.

use driftless_fs::fanotify::Mask;
use driftless_tree::RelPath;

use super::dirs::Place;
use super::engine::State;
use super::record::{Entry, Event, ObjectId};
use super::view::full_path;
use crate::hint::{Hint, What};
use crate::record::is_made_up;

/// The bits of an event that are passed on.
const MEANINGS: [(Mask, What); 6] = [
    (Mask::CREATE, What::CREATED),
    (Mask::MODIFY, What::MODIFIED),
    (Mask::CLOSE_WRITE, What::CLOSED_WRITE),
    (Mask::ATTRIB, What::ATTRIBUTES),
    (Mask::DELETE, What::GONE),
    (Mask::ONDIR, What::IS_DIR),
];

/// A name as a path of the tree.
enum Named {
    Path(RelPath),
    /// Too deep to be named; this is above it.
    Within(Option<RelPath>),
}

impl State {
    /// Takes one event.
    pub fn take(&mut self, event: &Event<'_>) {
        if event.mask.contains(Mask::Q_OVERFLOW) {
            return self.overflowed();
        }
        let entry = event.entry.or(event.from).or(event.to);
        let Some(entry) = entry else { return };
        if event.mask.contains(Mask::ONDIR)
            && event.mask.intersects(Mask::RENAME.union(Mask::DELETE))
            && event.object.is_some_and(|object| self.is_root(&object))
        {
            self.check_root();
        }
        let hints = self.hints.len();
        for view in 0..self.views.len() {
            if self.views[view].fsid != entry.dir.fsid {
                continue;
            }
            if event.mask.contains(Mask::RENAME) {
                self.renamed(view, event);
            } else if self.views[view].is_dir {
                self.told(view, &entry, event);
            } else {
                self.told_of_file(view, event);
            }
        }
        self.events += u64::from(self.hints.len() > hints);
    }

    fn is_root(&self, object: &ObjectId<'_>) -> bool {
        let root = &self.views[0];
        root.fsid == object.fsid && root.dirs.top() == object.handle
    }

    /// An event of a name in a directory, or of the directory itself.
    fn told(&mut self, view: usize, entry: &Entry<'_>, event: &Event<'_>) {
        let what = meaning(event.mask);
        let is_self = entry.name == b".";
        let object = event.object.filter(|_| what.is_dir() && !is_self);
        if let Some(object) = object.filter(|_| what.contains(What::GONE)) {
            self.views[view].dirs.forget(object.handle);
        }
        let Some(place) = self.find(view, entry.dir.handle) else { return };
        if let Some(object) = object.filter(|_| {
            what.contains(What::CREATED) && !what.contains(What::GONE) && place != Place::Outside
        }) {
            let dirs = &mut self.views[view].dirs;
            dirs.reserve(1);
            dirs.insert(object.handle, entry.dir.handle, entry.name);
        }
        if is_self {
            return self.hint_self(place, what);
        }
        match named(place, entry.name) {
            Some(Named::Path(path)) => {
                if what.intersects(What::CLOSED_WRITE | What::MODIFIED) && is_made_up(entry.name) {
                    self.written_unnamed(&path);
                }
                if what.is_dir() && what.contains(What::CREATED) {
                    // Where another one may have been, with all that was in it.
                    self.hints.push(Hint::Subtree { path: Some(path.clone()) });
                }
                self.hints.push(Hint::Path { path, what });
            }
            Some(Named::Within(path)) => self.hints.push(Hint::Subtree { path }),
            None => {}
        }
    }

    /// An event of a directory itself.
    fn hint_self(&mut self, place: Place, what: What) {
        match place {
            Place::At(Some(path)) => self.hints.push(Hint::Path { path, what }),
            Place::At(None) => self.hints.push(Hint::RootAttributes),
            Place::Within(path) => self.hints.push(Hint::Subtree { path }),
            Place::Skipped | Place::Outside => {}
        }
    }

    /// A file without a name was written. A link may have given it one, and nothing says which.
    fn written_unnamed(&mut self, path: &RelPath) {
        let is_real = rustix::fs::lstat(full_path(&self.root.path, path)).is_ok();
        if !is_real {
            self.hints.push(Hint::Subtree { path: path.parent() });
        }
    }

    /// An event that may be of a file with a mount on it.
    fn told_of_file(&mut self, view: usize, event: &Event<'_>) {
        let dirs = &self.views[view].dirs;
        if let (Some(path), Some(object)) = (dirs.prefix(), event.object)
            && object.handle == dirs.top()
        {
            self.hints.push(Hint::Path { path: path.clone(), what: meaning(event.mask) });
        }
    }

    fn renamed(&mut self, view: usize, event: &Event<'_>) {
        let is_dir = event.mask.contains(Mask::ONDIR);
        let object = event.object.map(|object| object.handle);
        let from = event.from.and_then(|from| Some((self.find(view, from.dir.handle)?, from)));
        let to = event.to.and_then(|to| Some((self.find(view, to.dir.handle)?, to)));
        let is_inside = |half: &Option<(Place, Entry<'_>)>| {
            half.as_ref().is_some_and(|(place, _)| *place != Place::Outside)
        };
        let (was_inside, gets_inside) = (is_inside(&from), is_inside(&to));
        // Looked up, or renamed, ahead of this event: what is where is to be found out.
        let ahead =
            (was_inside || gets_inside) && object.is_none_or(|object| self.window.note(object));
        let dirs = &mut self.views[view].dirs;
        self.moved_any |= is_dir && (was_inside || gets_inside);
        if let Some(object) = object.filter(|_| is_dir) {
            if gets_inside && (!was_inside || dirs.is_outside(object)) {
                dirs.forget_outside();
            }
            dirs.forget(object);
            if let Some((_, to)) = to.as_ref().filter(|_| gets_inside && !ahead) {
                dirs.reserve(1);
                dirs.insert(object, to.dir.handle, to.name);
            }
        }
        let name = |half: Option<(Place, Entry<'_>)>| {
            half.and_then(|(place, entry)| named(place, entry.name))
        };
        let (from, to) = (name(from), name(to));
        if is_dir && from.as_ref().is_some_and(|from| self.is_skipped(from)) {
            // Nothing is known of what it holds.
            self.hint_rename(None, to, is_dir, ahead);
            return self.hint_rename(from, None, is_dir, ahead);
        }
        self.hint_rename(from, to, is_dir, ahead);
    }

    fn is_skipped(&self, dir: &Named) -> bool {
        matches!(dir, Named::Path(path) if (self.consumer.options.skip)(path))
    }

    fn hint_rename(&mut self, from: Option<Named>, to: Option<Named>, is_dir: bool, ahead: bool) {
        let dir_bit = if is_dir { What::IS_DIR } else { What::default() };
        if let (Some(Named::Path(from)), Some(Named::Path(to))) = (&from, &to) {
            let (from, to) = (from.clone(), to.clone());
            self.hints.push(Hint::Renamed { from, to, is_dir });
        } else if let (Some(Named::Path(to)), true) = (&to, is_dir) {
            // Nothing is known of what it holds.
            self.hints.push(Hint::Subtree { path: Some(to.clone()) });
        }
        for (half, what) in [(from, What::GONE), (to, What::ARRIVED)] {
            match half {
                Some(Named::Path(path)) => {
                    if ahead && is_dir {
                        self.hints.push(Hint::Subtree { path: Some(path.clone()) });
                    }
                    let doubt = match ahead && !is_dir {
                        true => What::CREATED | What::CLOSED_WRITE,
                        false => What::default(),
                    };
                    self.hints.push(Hint::Path { path, what: what | dir_bit | doubt });
                }
                Some(Named::Within(path)) => self.hints.push(Hint::Subtree { path }),
                None => {}
            }
        }
    }
}

fn meaning(mask: Mask) -> What {
    MEANINGS
        .iter()
        .filter(|(bit, _)| mask.contains(*bit))
        .fold(What::default(), |all, (_, what)| all | *what)
}

/// A name in a directory that is at this place.
fn named(place: Place, name: &[u8]) -> Option<Named> {
    match place {
        Place::At(dir) => Some(match RelPath::child(dir.as_ref(), name) {
            Ok(path) => Named::Path(path),
            Err(_) => Named::Within(dir),
        }),
        Place::Within(dir) => Some(Named::Within(dir)),
        Place::Skipped | Place::Outside => None,
    }
}
