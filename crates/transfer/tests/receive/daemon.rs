//! Pulls from a real daemon.

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::peer::{Module as Served, RsyncDaemon};
use driftless_transfer::connect::daemon::Reach;
use driftless_transfer::connect::{Direction, End, Module};
use driftless_transfer::options::{ConnectOptions, DeleteWhen};
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::Quiet;
use driftless_transfer::{Request, SessionFailure, TransferOptions, receive};

use crate::support::Place;

/// Pulls what the module has; `sources` are what the client believes to have asked for.
fn pull(
    daemon: &RsyncDaemon,
    protocol: u8,
    sources: &[&str],
    place: &Place,
) -> Result<u8, Box<SessionFailure>> {
    let mut options = TransferOptions {
        hard_links: true,
        protocol,
        modify_window: 0,
        ..TransferOptions::default()
    };
    options.selection.recursive = true;
    options.delete.when = Some(DeleteWhen::Unspecified);
    let mut connection = Reach::default()
        .connect("127.0.0.1", daemon.port(), &options, &mut Quiet)
        .expect("the daemon listens");
    let args = ServerArgs::new(&options, &ConnectOptions::default(), ServerSide::Sends);
    let module = Module {
        name: "open",
        user: "nobody",
        password: &|| None,
        early_input: None,
        args: &args.for_daemon(&[b"open/".to_vec()]),
    };
    connection.enter_module(&module, &options, &mut Quiet).expect("nobody is asked for more");
    let established = connection
        .negotiate(End::Client, Direction::Receive, &options, &mut Quiet)
        .expect("the daemon agrees");
    let destination = place.path("ours").into_os_string().into_encoded_bytes();
    let sources = sources.iter().map(|source| source.as_bytes().to_vec()).collect();
    let request = Request { sources, destination: Some(destination), ..Request::default() };
    receive(established, &options, &request, &mut Quiet).map(|ending| ending.exit_code())
}

fn serve(place: &Place) -> RsyncDaemon {
    let served = Served::book("open").anonymous().set("munge symlinks", "no");
    RsyncDaemon::start(&[served.at(&place.path("src"))])
}

#[test]
fn a_module_is_mirrored_with_every_protocol() {
    let place = Place::new(11);
    place.changed_copy("ours", 12);
    let daemon = serve(&place);
    for protocol in [29, 30, 31, 32] {
        assert_eq!(pull(&daemon, protocol, &[""], &place).unwrap(), 0, "{protocol}");
        let options = CompareOptions {
            hard_links: true,
            nanoseconds: protocol >= 31,
            through_munged_links: false,
            ..CompareOptions::default()
        };
        let found = differences(&place.path("src"), &place.path("ours"), &options).unwrap();
        assert!(found.is_empty(), "{protocol}: {}", found.join("\n"));
        std::fs::remove_dir_all(place.path("ours")).unwrap();
        place.changed_copy("ours", 20 + u64::from(protocol));
    }
}

#[test]
fn a_server_that_lists_what_nobody_asked_for_is_left() {
    let place = Place::new(13);
    std::fs::create_dir(place.path("ours")).unwrap();
    let daemon = serve(&place);
    // It was asked for the whole module; the client remembers one name only.
    let failure = pull(&daemon, 32, &["only-this"], &place).unwrap_err();
    assert_eq!(failure.error.exit_code(), 4);
    assert!(failure.to_string().contains("rejecting unrequested file-list name"), "{failure}");
    assert_eq!(std::fs::read_dir(place.path("ours")).unwrap().count(), 0);
}
