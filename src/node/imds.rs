//! The instance metadata service (IMDSv2).

use crate::settings::Settings;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use ureq::Agent;

/// What the instance knows of itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `i-…`.
    pub instance_id: String,
    /// Type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Address.
    pub private_ip: String,
    /// Host name.
    pub hostname: String,
}

/// Longest answer that is read (bytes).
const MOST: u64 = 64 * 1024;

pub(crate) fn agent(limit: Duration) -> Agent {
    Agent::config_builder().timeout_global(Some(limit)).http_status_as_error(false).build().into()
}

/// Asks until it has everything or the deadline has passed.
pub fn learn(local: Settings, stop: &AtomicBool, deadline: Instant) -> Result<(Facts, Settings), String> {
    let base = std::env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        .unwrap_or_else(|_| "http://169.254.169.254".into());
    let agent = agent(Duration::from_secs(3));
    let mut pause = Duration::from_millis(50);
    loop {
        match once(&agent, base.trim_end_matches('/')) {
            Ok((facts, data)) => return Ok((facts, local.overlay(&data))),
            Err(e) if stop.load(Ordering::Relaxed) || Instant::now() + pause >= deadline => return Err(e),
            Err(_) => {}
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn once(agent: &Agent, base: &str) -> Result<(Facts, String), String> {
    let url = format!("{base}/latest/api/token");
    let answer = agent.put(&url).header("X-aws-ec2-metadata-token-ttl-seconds", "300").send_empty();
    let token = found(&url, body(&url, answer)?)?;
    let ask = |path: &str| {
        let url = format!("{base}/latest/{path}");
        let answer = agent.get(&url).header("X-aws-ec2-metadata-token", token.trim()).call();
        body(&url, answer).map(|a| (url, a))
    };
    let get = |path: &str| ask(path).and_then(|(url, a)| found(&url, a));
    let facts = Facts {
        instance_id: get("meta-data/instance-id")?,
        instance_type: get("meta-data/instance-type")?,
        zone: get("meta-data/placement/availability-zone")?,
        private_ip: get("meta-data/local-ipv4")?,
        hostname: get("meta-data/local-hostname")?,
    };
    // No user data at all is a 404: the image's file then says everything. Any other trouble is asked again, for the
    // controllers may stand there.
    let data = match ask("user-data")? {
        (_, (404, _)) => String::new(),
        (url, answer) => found(&url, answer)?,
    };
    Ok((facts, data))
}

fn found(url: &str, (status, text): (u16, String)) -> Result<String, String> {
    if status == 200 { Ok(text) } else { Err(format!("{url}: {status}")) }
}

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn body(url: &str, answer: Answer) -> Result<(u16, String), String> {
    let mut answer = answer.map_err(|e| format!("{url}: {e}"))?;
    let status = answer.status().as_u16();
    let text =
        answer.body_mut().with_config().limit(MOST).read_to_string().map_err(|e| format!("{url}: {e}"))?;
    Ok((status, text))
}
