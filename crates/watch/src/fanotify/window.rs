//! What was learnt ahead of the events that still wait in the queue.
//!
//! Looking a directory up on disk tells where it is now, while a rename that brought it there may not
//! have been taken yet; and the kernel joins a rename with an equal one before it, though another
//! one lay between. So a rename of something that was looked up, or was renamed, since the queue was
//! last seen empty proves nothing about what is where.
//!
//! Invariant: bounded; when too much was learnt, everything counts as ahead.

use rustc_hash::FxHashSet;

use driftless_fs::handle::Handle;

const MOST: usize = 8 * 1024;

#[derive(Default)]
pub(super) struct Window {
    objects: FxHashSet<Box<[u8]>>,
    overfull: bool,
}

impl Window {
    /// Notes that an object was looked up or renamed; returns whether it had been before.
    pub fn note(&mut self, object: Handle<'_>) -> bool {
        if self.overfull {
            return true;
        }
        let is_new = self.objects.insert(object.as_bytes().into());
        if self.objects.len() > MOST {
            self.objects = FxHashSet::default();
            self.overfull = true;
        }
        !is_new
    }

    /// The queue was seen empty: all that was learnt has been told by events too.
    pub fn close(&mut self) {
        self.objects.clear();
        self.overfull = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(number: u32) -> Vec<u8> {
        let mut bytes = 4u32.to_ne_bytes().to_vec();
        bytes.extend(1i32.to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes
    }

    #[test]
    fn an_object_is_ahead_the_second_time_and_all_are_when_there_were_too_many() {
        let mut window = Window::default();
        let mut note = |number: u32| window.note(Handle::parse(&raw(number)).unwrap());
        assert_eq!([note(1), note(2), note(1)], [false, false, true]);
        for number in 0..=MOST as u32 {
            note(number);
        }
        assert!(note(u32::MAX));
        window.close();
        assert!(!window.note(Handle::parse(&raw(1)).unwrap()));
    }
}
