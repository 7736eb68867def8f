//! The journal: SQLite, one writer thread, group commit.
//!
//! journal_mode=DELETE and locking_mode=EXCLUSIVE because the state directory can be NFS shared with a backup
//! controller; synchronous=FULL because an intent that is lost can launch twice.

pub mod lives;

use crate::health::Health;
use rusqlite::{Connection, OptionalExtension, params, types::Value};
use std::{path::Path, sync::Arc, thread};
use tokio::sync::{mpsc, oneshot};

/// A failed write or open, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal: {0}")]
pub struct JournalError(pub String);

impl From<rusqlite::Error> for JournalError {
    fn from(e: rusqlite::Error) -> Self {
        Self(e.to_string())
    }
}

/// A launch intent to be written before the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Client token.
    pub token: String,
    /// Serialised request, replayed from these bytes.
    pub request: String,
}

enum Write {
    Ledger {
        before: Option<i64>,
    },
    Gang {
        key: String,
        doc: String,
        living: bool,
        intent: Option<Intent>,
    },
    Answer {
        token: String,
        answer: String,
    },
    Request {
        token: String,
    },
    /// Answers the first value of its first row, where it has one.
    Statement {
        sql: &'static str,
        values: Vec<Value>,
    },
    Life(Box<lives::Row>),
    Report(Box<lives::Stored>),
    Reports {
        gang: String,
        restart: u32,
    },
    Past {
        since_ms: u64,
    },
}

impl Write {
    /// It writes nothing, and says nothing about a full disk.
    fn is_read(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Reports { .. } | Self::Past { .. } | Self::Ledger { .. } => true,
            Self::Statement { sql, .. } => sql.starts_with("SELECT"),
            _ => false,
        }
    }

    /// What it takes in memory, about, bytes.
    fn bytes(&self) -> u64 {
        let len = match self {
            Self::Gang { key, doc, intent, .. } => {
                key.len() + doc.len() + intent.as_ref().map_or(0, |i| i.token.len() + i.request.len())
            }
            Self::Answer { token, answer } => token.len() + answer.len(),
            Self::Request { token } => token.len(),
            Self::Life(row) => row.gang.len() + row.doc.len(),
            Self::Report(report) => report.gang.len() + report.doc.len(),
            Self::Reports { gang, .. } => gang.len(),
            Self::Past { .. } | Self::Ledger { .. } => 0,
            Self::Statement { values, .. } => values
                .iter()
                .map(|v| match v {
                    Value::Text(t) => t.len(),
                    Value::Blob(b) => b.len(),
                    _ => 8,
                })
                .sum(),
        };
        len as u64 + 128
    }
}

/// What the writer answers: a stored request where one was asked for.
pub type Reply = Result<Option<String>, JournalError>;

/// A write and where its outcome goes.
type Job = (Write, oneshot::Sender<Reply>);

/// Handle of the writer.
#[derive(Debug, Clone)]
pub struct Journal {
    sender: mpsc::UnboundedSender<Job>,
    health: Arc<Health>,
}

/// The other end: what was asked for and is not on disk yet.
#[derive(Debug)]
pub struct Writer {
    receiver: mpsc::UnboundedReceiver<Job>,
    batch: Vec<Job>,
    health: Arc<Health>,
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Write")
    }
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS gang (key TEXT PRIMARY KEY, doc TEXT NOT NULL, living INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS intent (token TEXT PRIMARY KEY, gang TEXT NOT NULL, request TEXT NOT NULL, answer TEXT,
  at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS gang_ended ON gang (at) WHERE living = 0;
CREATE INDEX IF NOT EXISTS intent_gang ON intent (gang);
CREATE TRIGGER IF NOT EXISTS intent_goes AFTER DELETE ON gang BEGIN DELETE FROM intent WHERE gang = OLD.key; END;
";

/// Old rows of ended gangs go, and by the trigger their intents; ?1: how many are younger than the oldest one kept.
const FORGET: &str = "DELETE FROM gang WHERE living = 0 AND at <
 (SELECT at FROM gang WHERE living = 0 ORDER BY at DESC LIMIT 1 OFFSET ?1)";
/// Rows of ended gangs kept for `burstctl explain`.
const KEEP_ENDED: u32 = 2_000;
/// Most writes in one transaction.
const BATCH: usize = 256;

impl Journal {
    /// Opens (or makes) the journal and answers the documents of all living gangs and of recent ended ones.
    ///
    /// # Errors
    /// The file cannot be used; a damaged one has been set aside and a new one begun, which is not an error.
    pub fn open(path: &Path, log: &dyn Fn(&str)) -> Result<(Self, Vec<String>), JournalError> {
        let db = match open_checked(path) {
            Ok(db) => db,
            Err(Opened::Busy(e)) => return Err(JournalError(e)),
            Err(Opened::Damaged(e)) => {
                let aside = path.with_extension(format!("damaged-{}", crate::start::now_ms()));
                log(&format!(
                    "the journal {} is damaged ({e}): set aside as {}; jobs that run keep their instances until they are over, jobs that wait must be submitted again",
                    path.display(),
                    aside.display()
                ));
                std::fs::rename(path, &aside).map_err(|e| JournalError(e.to_string()))?;
                match open_checked(path) {
                    Ok(db) => db,
                    Err(Opened::Busy(e) | Opened::Damaged(e)) => return Err(JournalError(e)),
                }
            }
        };
        let docs = documents(&db)?;
        let (journal, writer) = Self::queue();
        thread::Builder::new()
            .name("burst-journal".into())
            .spawn(move || writer.write_all(db))
            .map_err(|e| JournalError(e.to_string()))?;
        Ok((journal, docs))
    }

    /// A journal whose writer is the caller's.
    #[must_use]
    pub fn queue() -> (Self, Writer) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let health = Arc::<Health>::default();
        (Self { sender, health: health.clone() }, Writer { receiver, batch: Vec::new(), health })
    }

    /// Whether its disk takes what is written.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    fn send(&self, write: Write) -> Result<oneshot::Receiver<Reply>, JournalError> {
        self.health.enter(write.bytes())?;
        let (tx, rx) = oneshot::channel();
        self.sender.send((write, tx)).map_err(|_| JournalError("the writer thread is gone".into()))?;
        Ok(rx)
    }

    /// One statement of another room's; answers the first value of its first row, where it has one.
    pub(crate) async fn statement(&self, sql: &'static str, values: Vec<Value>) -> Reply {
        self.ask(Write::Statement { sql, values }).await
    }

    /// The same without waiting: its place among other writes is now.
    pub(crate) fn post_statement(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<oneshot::Receiver<Reply>, JournalError> {
        self.send(Write::Statement { sql, values })
    }

    async fn ask(&self, write: Write) -> Reply {
        let rx = self.send(write)?;
        rx.await.map_err(|_| JournalError("the writer thread is gone".into()))?
    }

    /// Writes a gang's document, and an intent with it in the same transaction; back when it is on disk. With an
    /// intent whose token is known already, the stored request is answered and nothing of it is changed.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn save(&self, key: String, doc: String, living: bool, intent: Option<Intent>) -> Reply {
        self.ask(Write::Gang { key, doc, living, intent }).await
    }

    /// Puts a document into the queue at once (its place among other writes is now), and answers where the word that it
    /// is on disk will come from.
    ///
    /// # Errors
    /// The writer is gone.
    pub fn post(
        &self,
        key: String,
        doc: String,
        living: bool,
    ) -> Result<oneshot::Receiver<Reply>, JournalError> {
        self.send(Write::Gang { key, doc, living, intent: None })
    }

    /// Writes an intent's answer.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn answer(&self, token: String, answer: String) -> Result<(), JournalError> {
        self.ask(Write::Answer { token, answer }).await.map(|_| ())
    }

    /// The stored request of a token.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn request(&self, token: String) -> Reply {
        self.ask(Write::Request { token }).await
    }
}

impl Journal {
    /// A slice of the ledger's rows, as `crate::history` reads it.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) async fn ledger(&self, before: Option<i64>) -> Reply {
        self.ask(Write::Ledger { before }).await
    }
}

enum Opened {
    Busy(String),
    Damaged(String),
}

fn open_checked(path: &Path) -> Result<Connection, Opened> {
    let sort = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            Opened::Damaged(e.to_string())
        }
        _ => Opened::Busy(e.to_string()),
    };
    let db = Connection::open(path).map_err(sort)?;
    db.execute_batch(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; \
         PRAGMA cache_size=-256;",
    )
    .map_err(sort)?;
    let word: String = db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(sort)?;
    if word != "ok" {
        return Err(Opened::Damaged(word));
    }
    make_tables(&db).map_err(sort)?;
    Ok(db)
}

/// The documents of all living gangs and of recent ended ones.
///
/// # Errors
/// The file cannot be read.
pub fn documents(db: &Connection) -> Result<Vec<String>, JournalError> {
    let mut q = db.prepare("SELECT doc FROM gang ORDER BY living DESC, at")?;
    let rows = q.query_map([], |r| r.get::<_, String>(0))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

/// Makes the tables of a database that has none.
///
/// # Errors
/// SQLite's.
pub fn make_tables(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(SCHEMA)?;
    db.execute_batch(lives::SCHEMA)?;
    db.execute_batch(crate::keep::SCHEMA)
}

impl Writer {
    fn write_all(mut self, mut db: Connection) {
        while let Some(first) = self.receiver.blocking_recv() {
            self.batch.push(first);
            self.commit(&mut db, crate::start::now_ms());
        }
    }

    /// Waits for the next write; false: nobody asks any more.
    pub async fn wait(&mut self) -> bool {
        match self.receiver.recv().await {
            Some(job) => self.batch.push(job),
            None => return false,
        }
        true
    }

    /// Writes what waits, in one transaction, and tells who asked.
    pub fn commit(&mut self, db: &mut Connection, now_ms: u64) {
        while self.batch.len() < BATCH
            && let Ok(next) = self.receiver.try_recv()
        {
            self.batch.push(next);
        }
        let (writes, replies): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let outcome = commit(db, &writes, now_ms);
        let read = writes.iter().all(Write::is_read);
        self.health.left(writes.iter().map(Write::bytes).sum(), read, outcome.as_ref().map(|_| ()));
        for (i, reply) in replies.into_iter().enumerate() {
            let word = match &outcome {
                Ok(answers) => Ok(answers.get(i).cloned().flatten()),
                Err(e) => Err(e.clone()),
            };
            // The asker may have gone: nothing to tell then.
            let _ = reply.send(word);
        }
    }

    /// Refuses what waits, as a full disk would.
    pub fn refuse(&mut self, why: &str) {
        let e = JournalError(why.to_owned());
        for (write, reply) in self.batch.drain(..) {
            self.health.left(write.bytes(), write.is_read(), Err(&e));
            let _ = reply.send(Err(e.clone()));
        }
    }
}

fn commit(db: &mut Connection, writes: &[Write], now_ms: u64) -> Result<Vec<Option<String>>, JournalError> {
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let tx = db.transaction()?;
    let mut answers = Vec::with_capacity(writes.len());
    for write in writes {
        answers.push(match write {
            // What cannot be read must not undo what others write.
            Write::Ledger { before } => crate::history::slice(&tx, *before)
                .inspect_err(|e| tracing::error!(error = %e, "the ledger cannot be read"))
                .ok(),
            Write::Gang { key, doc, living, intent } => {
                tx.prepare_cached(
                    "INSERT INTO gang (key, doc, living, at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (key) DO UPDATE SET doc = ?2, living = ?3, at = ?4",
                )?
                .execute(params![key, doc, living, now])?;
                if !living {
                    tx.prepare_cached(FORGET)?.execute([KEEP_ENDED - 1])?;
                }
                match intent {
                    Some(i) => {
                        tx.prepare_cached(
                            "INSERT INTO intent (token, gang, request, at) VALUES (?1, ?2, ?3, ?4)
                             ON CONFLICT (token) DO NOTHING",
                        )?
                        .execute(params![i.token, key, i.request, now])?;
                        tx.query_row("SELECT request FROM intent WHERE token = ?1", [&i.token], |r| r.get(0))
                            .optional()?
                    }
                    None => None,
                }
            }
            Write::Answer { token, answer } => {
                tx.execute("UPDATE intent SET answer = ?2 WHERE token = ?1", params![token, answer])?;
                None
            }
            Write::Request { token } => tx
                .query_row("SELECT request FROM intent WHERE token = ?1", [token], |r| r.get(0))
                .optional()?,
            Write::Statement { sql, values } => {
                let mut q = tx.prepare_cached(sql)?;
                let mut rows = q.query(rusqlite::params_from_iter(values))?;
                match rows.next()? {
                    Some(row) => row.get(0)?,
                    None => None,
                }
            }
            Write::Life(row) => {
                lives::write_life(&tx, row, now)?;
                None
            }
            Write::Report(report) => {
                lives::write_report(&tx, report, now)?;
                None
            }
            Write::Reports { gang, restart } => lives::read_reports(&tx, gang, *restart)?,
            Write::Past { since_ms } => lives::read_past(&tx, *since_ms)?,
        });
    }
    tx.commit()?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(db: &Connection, table: &str) -> u32 {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0)).expect("a count")
    }

    #[test]
    fn old_ended_gangs_go_with_their_intents_and_nothing_is_read_whole_for_it() {
        let mut db = Connection::open_in_memory().expect("a database");
        make_tables(&db).expect("tables");
        for n in 0..KEEP_ENDED + 50 {
            let key = format!("g{n:05}");
            let intent = Intent { token: format!("t{n}"), request: "{}".into() };
            let of = |living, intent| Write::Gang { key: key.clone(), doc: "{}".into(), living, intent };
            // The first stays for as long as it lives.
            let writes = [of(true, Some(intent)), of(n == 0, None)];
            commit(&mut db, &writes, u64::from(n)).expect("written");
        }
        assert_eq!((count(&db, "gang"), count(&db, "intent")), (KEEP_ENDED + 1, KEEP_ENDED + 1));
        let kept: String = db
            .query_row("SELECT group_concat(key) FROM (SELECT key FROM gang ORDER BY key LIMIT 2)", [], |r| {
                r.get(0)
            })
            .expect("keys");
        assert_eq!(kept, "g00000,g00050");
        let mut q = db.prepare(&format!("EXPLAIN QUERY PLAN {FORGET}")).expect("a plan");
        let steps = q.query_map([5], |r| r.get::<_, String>(3)).expect("steps");
        for step in steps.map(|s| s.expect("a step")).filter(|s| s.contains("gang")) {
            assert!(step.contains("INDEX gang_ended"), "{step}");
        }
    }
}
