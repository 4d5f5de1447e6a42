//! The server and the client over a real socket, with mirrors that only write down what they are
//! told.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftless_control::mirrors::Ended;
use driftless_control::request::{Choice, Resume, Wait};
use driftless_control::{Client, ClientError, Mirrors, Operated, Server, ServerError};
use driftless_live::status::{
    Aspect, Difference, LaneState, MirrorState, MirrorStatus, TargetStatus, VerifyStatus,
    WatchStatus,
};

/// Knows one target, `web1`.
struct Recorder {
    name: &'static str,
    told: Mutex<Vec<String>>,
    flush: Box<dyn Fn() -> Result<(), Vec<String>> + Send + Sync>,
}

impl Recorder {
    fn tell(&self, what: &str, target: Option<&str>) -> Result<(), String> {
        if target.is_some_and(|target| target != "web1") {
            return Err(format!("no target {}", target.unwrap_or_default()));
        }
        self.told.lock().unwrap().push(format!("{what} {target:?}"));
        Ok(())
    }
}

impl Operated for Recorder {
    fn name(&self) -> &str {
        self.name
    }

    fn status(&self) -> MirrorStatus {
        MirrorStatus {
            name: self.name.to_owned(),
            source: "/web".to_owned(),
            state: MirrorState::Running,
            error: None,
            watch: WatchStatus::default(),
            next_pass: None,
            next_verify: None,
            targets: vec![TargetStatus {
                url: "rsync://h/web1".to_owned(),
                state: LaneState::Live,
                lag: Duration::ZERO,
                dirty_paths: 0,
                bytes_sent: 1,
                bytes_received: 2,
                batches: 3,
                passes: 4,
                files_sent: 5,
                last_error: None,
                next_retry: None,
                refusals: Vec::new(),
                last_pass: None,
                last_verify: None,
            }],
        }
    }

    fn flush(&self, target: Option<&str>, timeout: Duration) -> Result<(), Vec<String>> {
        self.tell(&format!("flush {timeout:?}"), target).map_err(|error| vec![error])?;
        (self.flush)()
    }

    fn pause(&self, target: Option<&str>) -> Result<(), String> {
        self.tell("pause", target)
    }

    fn resume(&self, target: Option<&str>, accept_deletes: bool) -> Result<(), String> {
        self.tell(&format!("resume {accept_deletes}"), target)
    }

    fn resync(&self, target: Option<&str>) -> Result<(), String> {
        self.tell("resync", target)
    }

    fn verify(&self, target: Option<&str>, timeout: Duration) -> Result<Vec<Ended>, String> {
        self.tell(&format!("verify {timeout:?}"), target)?;
        let differs = self.name == "www";
        let status = VerifyStatus {
            began: std::time::SystemTime::now(),
            took: Duration::from_secs(1),
            compared: 7,
            differing: u64::from(differs),
            differences: Vec::from_iter(
                differs.then(|| Difference { path: None, aspects: vec![Aspect::Time] }),
            ),
            error: None,
        };
        Ok(vec![("rsync://h/web1".to_owned(), Arc::new(status))])
    }
}

struct Two([Arc<Recorder>; 2]);

impl Mirrors for Two {
    fn running(&self) -> Vec<Arc<dyn Operated>> {
        self.0.iter().map(|one| Arc::clone(one) as Arc<dyn Operated>).collect()
    }
}

struct Rig {
    www: Arc<Recorder>,
    data: Arc<Recorder>,
    client: Client,
    server: Server,
    dir: tempfile::TempDir,
}

fn rig_with(flush: impl Fn() -> Result<(), Vec<String>> + Send + Sync + 'static) -> Rig {
    let recorder = |name, flush| Arc::new(Recorder { name, told: Mutex::default(), flush });
    let www = recorder("www", Box::new(flush));
    let data = recorder("data", Box::new(|| Ok(())));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let mirrors = Arc::new(Two([Arc::clone(&www), Arc::clone(&data)]));
    let server = Server::start(&path, mirrors).unwrap();
    Rig { www, data, client: Client::new(&path), server, dir }
}

fn rig() -> Rig {
    rig_with(|| Ok(()))
}

fn choice(mirror: &str) -> Choice {
    Choice { mirror: Some(mirror.to_owned()) }
}

fn told(recorder: &Recorder) -> Vec<String> {
    recorder.told.lock().unwrap().clone()
}

#[test]
fn status_lists_all_mirrors_in_order() {
    let rig = rig();
    let status = rig.client.status().unwrap();
    let names: Vec<&str> = status.mirrors.iter().map(|mirror| mirror.name.as_str()).collect();
    assert_eq!(names, ["www", "data"]);
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.mirrors[0].targets[0].state, "live");
}

#[test]
fn commands_reach_the_mirror_and_target_they_name() {
    let rig = rig();
    rig.client.pause(&choice("www/web1")).unwrap();
    rig.client.resume(&Resume { mirror: Some("www".to_owned()), accept_deletes: true }).unwrap();
    rig.client.resync(&Choice { mirror: None }).unwrap();
    assert_eq!(told(&rig.www), ["pause Some(\"web1\")", "resume true None", "resync None"]);
    assert_eq!(told(&rig.data), ["resync None"]);
}

#[test]
fn a_verify_is_answered_with_what_each_target_was_found_to_be() {
    let rig = rig();
    let request = Wait { mirror: None, timeout: 2.5 };
    let targets = rig.client.verify(&request).unwrap().targets;
    let found: Vec<_> = targets
        .iter()
        .map(|target| (&*target.mirror, &*target.url, target.verify.differing))
        .collect();
    assert_eq!(found, [("www", "rsync://h/web1", 1), ("data", "rsync://h/web1", 0)]);
    assert_eq!(targets[0].verify.differences[0].path, ".");
    assert_eq!(told(&rig.data), ["verify 2.5s None"]);
    let unknown = Wait { mirror: Some("www/web9".to_owned()), ..request };
    let error = rig.client.verify(&unknown).unwrap_err();
    assert_eq!(error.to_string(), "mirror www: no target web9");
}

#[test]
fn unknown_mirrors_and_targets_are_refused_with_what_there_is() {
    let rig = rig();
    let error = rig.client.pause(&choice("ww")).unwrap_err();
    assert_eq!(error.to_string(), "no mirror is named 'ww'; there is: www, data");
    let error = rig.client.pause(&choice("www/web9")).unwrap_err();
    assert_eq!(error.to_string(), "mirror www: no target web9");
    assert!(told(&rig.www).is_empty());
}

#[test]
fn a_flush_that_comes_too_late_names_who_is_behind() {
    let rig = rig_with(|| Err(vec!["web1: backing-off".to_owned()]));
    let flush = Wait { mirror: None, timeout: 0.5 };
    match rig.client.flush(&flush).unwrap_err() {
        ClientError::Behind { error, lines } => {
            assert_eq!(error, "not everywhere after 500ms");
            assert_eq!(lines, ["mirror www: web1: backing-off"]);
        }
        other => panic!("{other}"),
    }
    assert_eq!(told(&rig.data), ["flush 500ms None"]);
    rig.client.flush(&Wait { mirror: Some("data".to_owned()), timeout: 1.0 }).unwrap();
}

/// Receives when the mirror's flush has begun; it lasts until something is sent.
fn gate() -> (Sender<()>, Receiver<()>, impl Fn() -> Result<(), Vec<String>> + Send + Sync) {
    let (began_in, began) = channel();
    let (open, opened) = channel();
    let ends = Mutex::new((began_in, opened));
    let wait = move || {
        let (began, opened) = &*ends.lock().unwrap();
        began.send(()).unwrap();
        // An error is the test's end, which opens the gate too.
        let _ = opened.recv();
        Ok(())
    };
    (open, began, wait)
}

#[test]
fn a_flush_that_waits_delays_no_status() {
    let (open, began, wait) = gate();
    let rig = rig_with(wait);
    let client = rig.client.clone();
    let flush = std::thread::spawn(move || client.flush(&Wait { mirror: None, timeout: 60.0 }));
    began.recv().unwrap();
    assert_eq!(rig.client.status().unwrap().mirrors.len(), 2);
    open.send(()).unwrap();
    flush.join().unwrap().unwrap();
}

#[test]
fn the_end_of_the_server_ends_a_flush_that_waits() {
    let (open, began, wait) = gate();
    let Rig { client, server, dir, .. } = rig_with(wait);
    let path = dir.path().join("control.sock");
    let flush = std::thread::spawn(move || client.flush(&Wait { mirror: None, timeout: 60.0 }));
    began.recv().unwrap();
    drop(server);
    let error = flush.join().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Stopped { .. }), "{error}");
    assert!(!path.exists());
    drop(open);
}

#[test]
fn the_second_server_at_a_socket_is_refused() {
    let rig = rig();
    let path = rig.dir.path().join("control.sock");
    let again = Server::start(&path, Arc::new(Two([rig.www.clone(), rig.data.clone()])));
    assert!(matches!(again, Err(ServerError::Socket(_))));
    rig.client.status().unwrap();
}

#[test]
fn nobody_at_the_socket_is_said_with_what_to_do() {
    let error = Client::new(Path::new("/nonexistent/dl.sock")).status().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no driftless answers at /nonexistent/dl.sock \
         (is `driftless live` running with --control there?)"
    );
}

/// Sends bytes as they are and returns the answer.
fn raw(rig: &Rig, request: &str) -> String {
    let mut stream = UnixStream::connect(rig.dir.path().join("control.sock")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn refused(request: &str, code: &str, why: &str) {
    let answer = raw(&rig(), request);
    assert!(answer.starts_with(&format!("HTTP/1.0 {code} ")), "{answer}");
    assert!(answer.contains(why), "{answer}");
}

#[test]
fn wrong_requests_get_a_code_and_a_reason() {
    let post = |address: &str, body: &str| {
        format!("POST {address} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    refused("GET /nothing HTTP/1.0\r\n\r\n", "404", "see /api/status");
    refused("GET /api/flush HTTP/1.0\r\n\r\n", "405", "");
    refused(&post("/api/flush", "{"), "400", "the request's body: ");
    refused(&post("/api/flush", r#"{"miror":"x"}"#), "400", "unknown field `miror`");
    refused(&post("/api/flush", r#"{"timeout":-1}"#), "400", "timeout: -1 is no number of seconds");
    refused(&post("/api/flush", r#"{"timeout":1e300}"#), "400", "is no number of seconds");
    refused(&post("/api/pause", r#"{"mirror":"x"}"#), "404", "there is: www, data");
}

#[test]
fn an_empty_body_means_everything() {
    let rig = rig();
    let answer = raw(&rig, "POST /api/flush HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert_eq!(told(&rig.www), ["flush 3600s None"]);
    assert_eq!(told(&rig.data), ["flush 3600s None"]);
}

#[test]
fn a_flush_before_any_mirror_runs_does_not_succeed() {
    struct None;
    impl Mirrors for None {
        fn running(&self) -> Vec<std::sync::Arc<dyn Operated>> {
            Vec::new()
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let _server = Server::start(&socket, std::sync::Arc::new(None)).unwrap();
    let error = Client::new(&socket).flush(&Wait { mirror: Option::None, timeout: 0.05 });
    assert!(error.unwrap_err().to_string().contains("no mirror runs"));
}
