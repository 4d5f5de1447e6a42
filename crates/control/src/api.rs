//! Routes: JSON in, JSON out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use crate::mirrors::{Mirrors, Operated};
use crate::report::{self, Failure};
use crate::request::{Choice, Resume, Wait};

/// A year, lest a deadline overflow the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86400);

type All = Arc<dyn Mirrors>;
type One = Arc<dyn Operated>;

/// Returns the routes of the API.
pub(crate) fn routes(mirrors: All) -> Router {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/flush", post(flush))
        .route("/api/verify", post(verify))
        .route("/api/pause", post(pause))
        .route("/api/resume", post(resume))
        .route("/api/resync", post(resync))
        .fallback(nothing_here)
        .with_state(mirrors)
}

/// A status code and the reason.
struct Refused(StatusCode, Failure);

impl Refused {
    fn new(code: StatusCode, error: impl Into<String>) -> Self {
        Self(code, Failure { error: error.into(), behind: Vec::new() })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// Done, with nothing more to say.
type Done = Result<Json<serde_json::Value>, Refused>;

fn done() -> Json<serde_json::Value> {
    Json(serde_json::json!({}))
}

async fn nothing_here() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is nothing at this address; see /api/status")
}

async fn status(State(mirrors): State<All>) -> Result<Json<report::Status>, Refused> {
    waiting(move || {
        let mirrors = mirrors.running().iter().map(|mirror| mirror.status().into()).collect();
        Json(report::Status { version: env!("CARGO_PKG_VERSION").to_owned(), mirrors })
    })
    .await
}

/// How often a request that waits looks whether a mirror has started.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Whom a request that waits is for, and how long.
struct Wanted {
    mirrors: Vec<One>,
    target: Option<String>,
    timeout: Duration,
    /// Of `timeout`.
    left: Duration,
}

/// Somebody may ask while the first mirror starts: no mirror has nothing everywhere.
async fn wanted(mirrors: &All, request: &Wait) -> Result<Wanted, Refused> {
    let timeout = Duration::try_from_secs_f64(request.timeout).map_err(|_| {
        let text = format!("timeout: {} is no number of seconds", request.timeout);
        Refused::new(StatusCode::BAD_REQUEST, text)
    })?;
    let timeout = timeout.min(LONGEST_WAIT);
    let mut left = timeout;
    loop {
        let (chosen, target) = choose(mirrors, request.mirror.as_deref())?;
        if !chosen.is_empty() {
            return Ok(Wanted { mirrors: chosen, target, timeout, left });
        }
        if left.is_zero() {
            let text = "no mirror runs".to_owned();
            return Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, text));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        left = left.saturating_sub(LOOK_AGAIN);
    }
}

async fn flush(State(mirrors): State<All>, body: Bytes) -> Done {
    let request: Wait = parse(&body)?;
    let Wanted { mirrors: chosen, target, timeout, left } = wanted(&mirrors, &request).await?;
    // All at the same time: the second must not get only what the first left of the time.
    let waits: Vec<_> = chosen
        .into_iter()
        .map(|mirror| {
            let target = target.clone();
            spawn_blocking(move || {
                mirror.flush(target.as_deref(), left).map_err(|lines| {
                    lines.into_iter().map(|line| named(mirror.name(), line)).collect::<Vec<_>>()
                })
            })
        })
        .collect();
    let mut behind = Vec::new();
    for wait in waits {
        if let Err(lines) = wait.await.map_err(|_| panicked())? {
            behind.extend(lines);
        }
    }
    if behind.is_empty() {
        return Ok(done());
    }
    let error = format!("not everywhere after {timeout:?}");
    Err(Refused(StatusCode::GATEWAY_TIMEOUT, Failure { error, behind }))
}

async fn verify(
    State(mirrors): State<All>,
    body: Bytes,
) -> Result<Json<report::Verified>, Refused> {
    let request: Wait = parse(&body)?;
    let Wanted { mirrors: chosen, target, left, .. } = wanted(&mirrors, &request).await?;
    let waits: Vec<_> = chosen
        .into_iter()
        .map(|mirror| {
            let target = target.clone();
            spawn_blocking(move || {
                let ended = mirror.verify(target.as_deref(), left).map_err(|error| {
                    Refused::new(StatusCode::NOT_FOUND, named(mirror.name(), error))
                })?;
                let name = mirror.name();
                let ended = ended.iter().map(|(url, ended)| report::VerifiedTarget {
                    mirror: name.to_owned(),
                    url: url.clone(),
                    verify: report::Verify::new(ended, usize::MAX),
                });
                Ok(ended.collect::<Vec<_>>())
            })
        })
        .collect();
    let mut targets = Vec::new();
    for wait in waits {
        targets.extend(wait.await.map_err(|_| panicked())??);
    }
    Ok(Json(report::Verified { targets }))
}

async fn pause(State(mirrors): State<All>, body: Bytes) -> Done {
    let request: Choice = parse(&body)?;
    each(&mirrors, request.mirror.as_deref(), |mirror, target| mirror.pause(target)).await
}

async fn resume(State(mirrors): State<All>, body: Bytes) -> Done {
    let request: Resume = parse(&body)?;
    let accept = request.accept_deletes;
    each(&mirrors, request.mirror.as_deref(), move |mirror, target| mirror.resume(target, accept))
        .await
}

async fn resync(State(mirrors): State<All>, body: Bytes) -> Done {
    let request: Choice = parse(&body)?;
    each(&mirrors, request.mirror.as_deref(), |mirror, target| mirror.resync(target)).await
}

/// Tells each chosen mirror, and ends at the first that refuses.
async fn each(
    mirrors: &All,
    name: Option<&str>,
    tell: impl Fn(&dyn Operated, Option<&str>) -> Result<(), String> + Send + 'static,
) -> Done {
    let (chosen, target) = choose(mirrors, name)?;
    waiting(move || {
        for mirror in chosen {
            tell(mirror.as_ref(), target.as_deref()).map_err(|error| {
                Refused::new(StatusCode::NOT_FOUND, named(mirror.name(), error))
            })?;
        }
        Ok(done())
    })
    .await?
}

/// The mirrors that `MIRROR` or `MIRROR/TARGET` means, and the target.
fn choose(mirrors: &All, name: Option<&str>) -> Result<(Vec<One>, Option<String>), Refused> {
    let running = mirrors.running();
    let Some(name) = name else { return Ok((running, None)) };
    let (mirror, target) = match name.split_once('/') {
        Some((mirror, target)) => (mirror, Some(target.to_owned())),
        None => (name, None),
    };
    match running.iter().find(|one| one.name() == mirror) {
        Some(one) => Ok((vec![Arc::clone(one)], target)),
        None => {
            let known: Vec<&str> = running.iter().map(|one| one.name()).collect();
            let text = format!("no mirror is named '{mirror}'; there is: {}", known.join(", "));
            Err(Refused::new(StatusCode::NOT_FOUND, text))
        }
    }
}

/// A line with the mirror's name in front, unless it is there already.
fn named(mirror: &str, line: String) -> String {
    if line.starts_with("mirror ") { line } else { format!("mirror {mirror}: {line}") }
}

/// Runs what may wait for a lock or a mirror on a thread of its own.
async fn waiting<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    spawn_blocking(act).await.map_err(|_| panicked())
}

fn panicked() -> Refused {
    Refused::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "driftless failed while it answered; its log says more",
    )
}

/// Any content type will do, so that `curl -d` works as it is.
fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refused> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, format!("the request's body: {error}"))
    })
}
