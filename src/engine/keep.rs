//! What the journal keeps beside gangs: what operators have set, and what collection has ended.

use crate::{
    controller::Loud,
    core::Event,
    effects::Hands,
    journal::{Journal, JournalError, Reply},
    shared::Msg,
};
use burst_policy::stops::{How, Stop, Stops};
use rusqlite::types::Value;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The tables.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS audit (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL,
  gang TEXT NOT NULL, reason TEXT NOT NULL, result TEXT NOT NULL);
";

/// Rows of the audit that are kept.
const AUDIT_ROWS: i64 = 10_000;
/// The setting that holds the stops.
const STOPS: &str = "stops";
/// Pause between looks at the journal's health.
const WATCH: Duration = Duration::from_secs(2);

/// Something collection ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `instance`, `group`, `template` or `row`.
    pub what: &'static str,
    /// Its id or name.
    pub name: String,
    /// The gang it says it belongs to.
    pub gang: String,
    /// Why it is ended.
    pub reason: String,
}

const KEEP: &str = "INSERT INTO setting (name, value, at) VALUES (?1, ?2, ?3)
 ON CONFLICT (name) DO UPDATE SET value = ?2, at = ?3";

impl Journal {
    /// A kept value.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn setting(&self, name: &'static str) -> Reply {
        self.statement("SELECT value FROM setting WHERE name = ?1", vec![text(name)]).await
    }

    /// Keeps a value; the word that it is on disk comes from where is answered.
    ///
    /// # Errors
    /// The writer is gone, or has no room.
    pub fn keep(
        &self,
        name: &str,
        value: String,
        now_ms: u64,
    ) -> Result<oneshot::Receiver<Reply>, JournalError> {
        self.post_statement(KEEP, vec![text(name), Value::Text(value), number(now_ms)])
    }

    /// Keeps the stops.
    ///
    /// # Errors
    /// As [`Journal::keep`].
    pub fn keep_stops(&self, stops: &Stops, now_ms: u64) -> Result<oneshot::Receiver<Reply>, JournalError> {
        let value = serde_json::to_string(stops).map_err(|e| JournalError(e.to_string()))?;
        self.keep(STOPS, value, now_ms)
    }

    /// A row for each thing that is about to be ended.
    ///
    /// # Errors
    /// Not all were written.
    pub async fn audit(&self, ends: &[Ended], now_ms: u64) -> Result<(), JournalError> {
        for e in ends {
            let row = vec![number(now_ms), text(e.what), text(&e.name), text(&e.gang), text(&e.reason)];
            let sql = "INSERT INTO audit (at, what, name, gang, reason, result) VALUES (?1, ?2, ?3, ?4, ?5, 'asked')";
            self.statement(sql, row).await?;
        }
        let sql = "DELETE FROM audit WHERE n <= (SELECT max(n) FROM audit) - ?1";
        self.statement(sql, vec![Value::Integer(AUDIT_ROWS)]).await.map(|_| ())
    }

    /// What came of the rows written at this time.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn audited(&self, at_ms: u64, result: &str) -> Result<(), JournalError> {
        let sql = "UPDATE audit SET result = ?2 WHERE at = ?1 AND result = 'asked'";
        self.statement(sql, vec![number(at_ms), text(result)]).await.map(|_| ())
    }

    /// The last rows, the newest first, as a JSON list.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn audit_rows(&self, last: u32) -> Reply {
        let sql = "SELECT json_group_array(json_object('at_ms', at, 'what', what, 'name', name, 'gang', gang, 'reason', reason,
          'result', result)) FROM (SELECT * FROM audit ORDER BY n DESC LIMIT ?1)";
        self.statement(sql, vec![Value::Integer(i64::from(last))]).await
    }

    /// A document that no version of ours can read lives no longer; it stays for a person to look at.
    ///
    /// # Errors
    /// The writer is gone, or has no room.
    pub fn bury(&self, doc: &str, now_ms: u64) -> Result<oneshot::Receiver<Reply>, JournalError> {
        let sql = "UPDATE gang SET living = 0, at = ?2 WHERE doc = ?1";
        self.post_statement(sql, vec![text(doc), number(now_ms)])
    }
}

fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}

fn number(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

/// The stops of before; nothing is launched until they are known.
pub(crate) async fn stops(hands: &Hands) -> Stops {
    let mut told = false;
    loop {
        match hands.journal.setting(STOPS).await {
            Ok(None) => return Stops::default(),
            Ok(Some(text)) => return read(&text, hands),
            Err(e) if !told => {
                told = true;
                hands.controller.log(
                    Loud::Error,
                    &format!("what operators have stopped cannot be read: {e}; tried again"),
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn read(text: &str, hands: &Hands) -> Stops {
    serde_json::from_str(text).unwrap_or_else(|e| {
        hands.controller.log(
            Loud::Error,
            &format!("what operators had stopped cannot be read: {e}; all pools are paused"),
        );
        let who = "slurm-burst, which cannot read what was stopped before".to_owned();
        Stops { all: Some(Stop { how: How::Pause, who, since_ms: hands.host.now_ms() }), ..Stops::default() }
    })
}

/// Looks after the journal for ever: while writes fail, one is tried, and when its health changes the gangs are told.
pub(crate) async fn watch(hands: Hands, sender: mpsc::Sender<Msg>) {
    let mut before = None;
    loop {
        tokio::time::sleep(WATCH).await;
        if hands.journal.health().is_failing()
            && let Ok(word) = hands.journal.keep("probe", String::new(), hands.host.now_ms())
        {
            // Whatever comes of it stands in the journal's health.
            let _ = tokio::time::timeout(WATCH, word).await;
        }
        let now = hands.journal.health().trouble();
        if now == before {
            continue;
        }
        match &now {
            Some(why) => hands.controller.log(Loud::Error, &format!("nothing new is launched: {why}")),
            None => hands.controller.log(Loud::Info, "the journal can be written again: launches go on"),
        }
        before = now;
        if sender.send(Msg::Internal(Box::new(Event::Reconsider))).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::make_tables;
    use rusqlite::Connection;

    /// A journal on a disk in memory, whose writer is a task.
    fn journal() -> Journal {
        let (journal, mut writer) = Journal::queue();
        let mut db = Connection::open_in_memory().unwrap();
        make_tables(&db).unwrap();
        tokio::spawn(async move {
            while writer.wait().await {
                writer.commit(&mut db, 7);
            }
        });
        journal
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_found_again() {
        let j = journal();
        assert_eq!(j.setting("x").await, Ok(None));
        for value in ["1", "2"] {
            j.keep("x", value.into(), 5).unwrap().await.unwrap().unwrap();
        }
        assert_eq!(j.setting("x").await, Ok(Some("2".into())));
        let mut stops = Stops::default();
        stops.stop(None, Stop { how: How::Drain, who: "alice".into(), since_ms: 5 });
        j.keep_stops(&stops, 5).unwrap().await.unwrap().unwrap();
        let text = j.setting(STOPS).await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Stops>(&text).unwrap(), stops);
    }

    #[tokio::test(start_paused = true)]
    async fn each_end_has_its_row_and_what_came_of_it() {
        let j = journal();
        assert_eq!(j.audit_rows(10).await, Ok(Some("[]".into())));
        let end = |name: &str| Ended {
            what: "instance",
            name: name.into(),
            gang: "g'1".into(),
            reason: "its \"gang\" is not living".into(),
        };
        j.audit(&[end("i-a"), end("i-b")], 100).await.unwrap();
        j.audited(100, "ended").await.unwrap();
        j.audit(&[end("i-c")], 200).await.unwrap();
        let rows: Vec<serde_json::Value> =
            serde_json::from_str(&j.audit_rows(2).await.unwrap().unwrap()).unwrap();
        assert_eq!(
            rows,
            [
                serde_json::json!({"at_ms": 200, "what": "instance", "name": "i-c", "gang": "g'1",
                    "reason": "its \"gang\" is not living", "result": "asked"}),
                serde_json::json!({"at_ms": 100, "what": "instance", "name": "i-b", "gang": "g'1",
                    "reason": "its \"gang\" is not living", "result": "ended"}),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_that_cannot_be_read_lives_no_longer() {
        let j = journal();
        j.save("g".into(), "not JSON".into(), true, None).await.unwrap();
        j.bury("not JSON", 9).unwrap().await.unwrap().unwrap();
        let living =
            j.statement("SELECT CAST(count(*) AS TEXT) FROM gang WHERE living = 1", Vec::new()).await;
        assert_eq!(living, Ok(Some("0".into())));
    }
}
