//! One session with a daemon, from the connection to the last mark.
//!
//! ```text
//! connect ─► login ──args, setup, filters, list──► setup ─► Session (serve)
//!                    └─ in one flight where the daemon's flags are known beforehand
//! ```

use std::time::Instant;

use driftless_proto::filterlist;
use driftless_proto::flist::ListOptions;
use driftless_proto::mux::Mux;
use driftless_proto::setup::CompatFlags;

use crate::connect::handshake::{self, ANTICIPATED, ANTICIPATED_FROM, Login, SetupEnd};
use crate::connect::shell::Family;
use crate::connect::socket::{self, Way};
use crate::connect::stream::Stream;
use crate::driver::Driver;
use crate::error::{PushError, PushFailure};
use crate::link::Link;
use crate::options::TransferOptions;
use crate::push::{Outcome, Peer};
use crate::sender::attrs::Attrs;
use crate::sender::lists::{FileList, Lists};
use crate::sender::partial;
use crate::sender::session::{Session, Terms};
use crate::server_args::{PushKind, daemon_args};

/// What a session is made from.
pub(crate) struct Attempt<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) options: &'a TransferOptions,
    pub(crate) kind: PushKind<'a>,
    /// The only list, when it is known before the session.
    pub(crate) list: Option<&'a FileList>,
}

/// How far a connection came.
enum Reached {
    End,
    /// The daemon is not what it was taken for; nothing happened at the target.
    Disappointed,
}

impl Attempt<'_> {
    /// Runs the session; `body` does what follows the setup and the list, if there is one.
    pub(crate) fn run(
        &self,
        driver: &mut dyn Driver,
        mut body: impl FnMut(&mut Session<'_>, &ListOptions) -> Result<(), PushError>,
    ) -> Result<Outcome, Box<PushFailure>> {
        let started = Instant::now();
        let mut outcome = Outcome::default();
        let mut result = self.connect(true, driver, &mut outcome, &mut body);
        if let Ok(Reached::Disappointed) = result {
            outcome = Outcome::default();
            result = self.connect(false, driver, &mut outcome, &mut body);
        }
        outcome.total_time = started.elapsed();
        match result {
            Ok(_) => {
                outcome.clean_end = true;
                Ok(outcome)
            }
            Err(error) => Err(Box::new(PushFailure { error, outcome })),
        }
    }

    fn connect(
        &self,
        anticipate: bool,
        driver: &mut dyn Driver,
        outcome: &mut Outcome,
        body: &mut dyn FnMut(&mut Session<'_>, &ListOptions) -> Result<(), PushError>,
    ) -> Result<Reached, PushError> {
        self.check_filters()?;
        let started = Instant::now();
        let deadline = self.options.connect_timeout.map(|limit| started + limit);
        let url = &self.peer.url;
        let way = Way {
            host: &url.host,
            port: url.port,
            family: Family::Any,
            bind_addresses: self.options.bind_address.as_slice(),
            socket_options: &[],
        };
        let socket = socket::connect(&way, deadline, &|| driver.cancelled())?;
        outcome.connect_time = started.elapsed();
        let mut link = {
            let silence = self.options.timeout.or(self.options.silence_limit);
            Link::new(Stream::tcp(socket), deadline, silence, self.options.bwlimit)
        };
        let result = self.talk(anticipate, &mut link, driver, outcome, body);
        if result.is_err() {
            link.abandon();
        }
        outcome.bytes_sent = link.bytes_sent;
        outcome.bytes_received = link.bytes_received;
        result
    }

    fn talk(
        &self,
        anticipate: bool,
        link: &mut Link,
        driver: &mut dyn Driver,
        outcome: &mut Outcome,
        body: &mut dyn FnMut(&mut Session<'_>, &ListOptions) -> Result<(), PushError>,
    ) -> Result<Reached, PushError> {
        let started = Instant::now();
        let (options, url) = (self.options, &self.peer.url);
        let args = |protocol| daemon_args(options, self.kind, protocol, &url.module, &url.path);
        let anticipates = |protocol| anticipate && protocol >= ANTICIPATED_FROM;
        let put_behind = |output: &mut Mux, protocol| {
            if anticipates(protocol) {
                handshake::put_setup(options, output);
                self.put_start(&self.list_options(protocol, ANTICIPATED), output);
            }
        };
        let login = Login {
            module: &url.module,
            user: url.user.as_deref().unwrap_or(&self.peer.default_user),
            password: &|| self.peer.password.clone(),
            early_input: None,
            protocol: options.protocol,
            least_protocol: 30,
        };
        let protocol = handshake::login(link, &login, args, put_behind, driver)?;
        outcome.protocol = protocol;
        outcome.login_time = started.elapsed();
        let anticipated = anticipates(protocol);
        let end = handshake::setup(link, protocol, anticipated, options, driver)?;
        let SetupEnd::Agreed(setup) = end else { return Ok(Reached::Disappointed) };
        let mut list_options = self.list_options(protocol, setup.compat);
        list_options.checksum_len =
            self.kind.checksum(protocol).then(|| setup.checksum.digest_len());
        link.start_frames();
        if !anticipated {
            self.put_start(&list_options, &mut link.output);
        }
        if let Some(list) = self.list {
            outcome.listed_count = list.entries.len() as u64;
            outcome.total_size = list.entries.iter().map(|entry| entry.size).sum();
        }
        let lists = Lists::new(setup.compat.inc_recurse());
        let terms = Terms {
            dry_run: self.kind.dry_run(),
            xattrs: options.metadata.xattrs > 0,
            level: options.compress_level,
            threads: options.compress_threads,
            ..Terms::default()
        };
        let mut session = Session::new(link, driver, outcome, setup, lists, terms);
        session.attrs = Attrs::new(&options.metadata);
        body(&mut session, &list_options)?;
        Ok(Reached::End)
    }

    /// Writes what follows the setup: rules and the list that is known.
    fn put_start(&self, list_options: &ListOptions, output: &mut Mux) {
        if self.kind.sends_filters() {
            output.append(|out| {
                for text in self.filters() {
                    filterlist::put_rule(out, text);
                }
                filterlist::put_end(out);
            });
        }
        if let Some(list) = self.list {
            partial::put(list, list_options, output);
        }
    }

    fn filters(&self) -> &[Vec<u8>] {
        match self.kind {
            PushKind::List(list) => list.filter_texts.as_deref().unwrap_or_default(),
            PushKind::Tree(tree) => &tree.filter_texts,
        }
    }

    fn check_filters(&self) -> Result<(), PushError> {
        let bad = |text: &&Vec<u8>| !(1..=filterlist::MAX_RULE_LEN).contains(&text.len());
        match self.filters().iter().find(bad) {
            None => Ok(()),
            Some(text) => Err(PushError::List(format!("a filter rule of {} bytes", text.len()))),
        }
    }

    fn list_options(&self, protocol: u8, compat: CompatFlags) -> ListOptions {
        let options = self.options;
        ListOptions {
            protocol,
            compat,
            owner: options.owner,
            group: options.group,
            devices: options.devices,
            specials: options.specials,
            links: options.links,
            hard_links: options.hard_links,
            numeric_ids: options.numeric_ids,
            acls: options.metadata.acls,
            xattrs: options.metadata.xattrs > 0,
            relative: matches!(self.kind, PushKind::List(_)),
            missing_args: matches!(self.kind, PushKind::List(list) if list.missing_args),
            ..ListOptions::default()
        }
    }
}
