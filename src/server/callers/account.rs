//! What each caller has taken of what it may take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::identity::Caller;
use crate::config::{CallersConfig, QuotaConfig};
use crate::server::fault::Fault;
use crate::server::observe::{Metrics, Quota};

/// Accounts beyond which those that owe nothing are forgotten.
const MANY: usize = 4096;

/// How soon a job that waits is likely to begin.
const JOBS_RETRY: Duration = Duration::from_secs(30);

/// A caller whose bytes are made up for within this time may call: a stream that sends as fast as
/// it may always owes a little, and must not lock its caller's other calls out.
const OWED: Duration = Duration::from_secs(1);

/// How soon a stream is likely to end.
const STREAMS_RETRY: Duration = Duration::from_secs(1);

/// The accounts of all callers. Clones share them.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    key: QuotaConfig,
    address: QuotaConfig,
    metrics: Metrics,
    known: Mutex<HashMap<Caller, Arc<Account>>>,
}

/// What one caller has taken.
pub struct Account {
    pub caller: Caller,
    /// What it may take.
    pub quotas: QuotaConfig,
    calls: Option<Bucket>,
    items: Option<Bucket>,
    bytes: Option<Bucket>,
    streams: AtomicU64,
    metrics: Metrics,
}

impl Accounts {
    /// Accounts with the bounds of the configuration.
    pub fn new(config: &CallersConfig, metrics: Metrics) -> Self {
        let CallersConfig { key, address, .. } = *config;
        Self(Arc::new(Inner { key, address, metrics, known: Mutex::default() }))
    }

    /// The account of a caller.
    pub fn of(&self, caller: &Caller) -> Arc<Account> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.get(caller) {
            return Arc::clone(account);
        }
        if known.len() >= MANY {
            let now = Instant::now();
            known.retain(|_, account| Arc::strong_count(account) > 1 || account.owes(now));
        }
        let quotas = match caller {
            Caller::Key(_) => self.0.key,
            Caller::Address(_) => self.0.address,
            Caller::Local => QuotaConfig::default(),
        };
        let account = Arc::new(Account::new(caller.clone(), quotas, self.0.metrics.clone()));
        known.insert(caller.clone(), Arc::clone(&account));
        account
    }
}

impl Account {
    fn new(caller: Caller, quotas: QuotaConfig, metrics: Metrics) -> Self {
        let now = Instant::now();
        Self {
            caller,
            calls: Bucket::new(quotas.calls_per_second, now),
            items: Bucket::new(quotas.items_per_second, now),
            bytes: Bucket::new(quotas.bytes_per_second, now),
            quotas,
            streams: AtomicU64::new(0),
            metrics,
        }
    }

    /// Counts a call that begins.
    ///
    /// # Errors
    /// The caller has begun as many as it may, or owes more bytes of earlier ones than it may send
    /// in a second.
    pub fn call(&self) -> Result<(), Fault> {
        let now = Instant::now();
        let owed = self.bytes.as_ref().map_or(Duration::ZERO, |bytes| bytes.owed(now));
        if let Some(wait) = owed.checked_sub(OWED).filter(|wait| !wait.is_zero()) {
            return Err(self.refused(Quota::Bytes, self.quotas.bytes_per_second, wait));
        }
        let Some(calls) = &self.calls else { return Ok(()) };
        let taken = calls.take(1, now);
        taken.map_err(|wait| self.refused(Quota::Calls, self.quotas.calls_per_second, wait))
    }

    /// Counts items of a call.
    ///
    /// # Errors
    /// The caller has asked for as many as it may.
    pub fn items(&self, count: usize) -> Result<(), Fault> {
        let Some(items) = &self.items else { return Ok(()) };
        let taken = items.take(count as u64, Instant::now());
        taken.map_err(|wait| self.refused(Quota::Items, self.quotas.items_per_second, wait))
    }

    /// Waits until an item may be asked for, and counts it.
    pub async fn item_when_allowed(&self) {
        let Some(items) = &self.items else { return };
        while let Err(wait) = items.take(1, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Counts bytes that have come; returns how long the caller should be kept from sending more.
    pub fn bytes(&self, count: usize) -> Duration {
        let Some(bytes) = &self.bytes else { return Duration::ZERO };
        bytes.owe(count as u64, Instant::now())
    }

    /// Counts a stream as open until the guard is dropped.
    ///
    /// # Errors
    /// As many as may be are open.
    pub fn stream(self: &Arc<Self>) -> Result<OpenStream, Fault> {
        let most = self.quotas.open_streams;
        let open = self.streams.fetch_add(1, Ordering::AcqRel);
        let guard = OpenStream(Arc::clone(self));
        if most > 0 && open >= most {
            return Err(self.refused(Quota::Streams, most, STREAMS_RETRY));
        }
        Ok(guard)
    }

    /// As many jobs of the caller wait as may.
    pub fn job_refused(&self) -> Fault {
        self.refused(Quota::Jobs, self.quotas.queued_jobs, JOBS_RETRY)
    }

    fn owes(&self, now: Instant) -> bool {
        let buckets = [&self.calls, &self.items, &self.bytes];
        let owes = buckets.into_iter().flatten().any(|bucket| !bucket.is_full(now));
        owes || self.streams.load(Ordering::Acquire) > 0
    }

    fn refused(&self, quota: Quota, allowed: u64, wait: Duration) -> Fault {
        self.metrics.quota_refused(quota);
        let whose = match &self.caller {
            Caller::Key(name) => format!("the key {name:?}"),
            Caller::Address(address) => format!("the address {address}"),
            Caller::Local => "this process".to_owned(),
        };
        let message = format!(
            "{whose} may take {allowed} ({}), which it has; try again in {} ms",
            quota.field(),
            wait.as_millis().max(1)
        );
        Fault::full("QUOTA_EXCEEDED", message, quota.field(), allowed).retry_after(wait)
    }
}

/// A stream that counts as open.
pub struct OpenStream(Arc<Account>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(quotas: QuotaConfig) -> Arc<Account> {
        Arc::new(Account::new(Caller::Key("ada".into()), quotas, Metrics::off()))
    }

    #[test]
    fn each_quota_is_refused_by_its_name() {
        let it = account(QuotaConfig {
            calls_per_second: 2,
            items_per_second: 10,
            bytes_per_second: 100,
            open_streams: 1,
            queued_jobs: 0,
        });
        it.call().expect("the first");
        it.call().expect("the second");
        let text = format!("{:?}", it.call().expect_err("a third"));
        assert!(text.contains("QUOTA_EXCEEDED") && text.contains("calls_per_second"), "{text}");
        it.items(10).expect("a second's worth");
        assert!(it.items(1).is_err());
        let open = it.stream().expect("one");
        assert!(it.stream().is_err());
        drop(open);
        it.stream().expect("one again");
        assert_eq!(it.bytes(100), Duration::ZERO);
        assert!(it.bytes(100) > Duration::from_millis(900));
        assert!(it.bytes(100) > Duration::from_millis(1900));
        let text = format!("{:?}", it.call().expect_err("owes bytes"));
        assert!(text.contains("bytes_per_second"), "{text}");
    }

    #[test]
    fn a_stream_at_its_rate_does_not_lock_its_callers_calls_out() {
        let it = account(QuotaConfig { bytes_per_second: 100, ..QuotaConfig::default() });
        assert!(it.bytes(190) > Duration::from_millis(800));
        it.call().expect("owes less than a second's bytes");
        it.bytes(200);
        it.call().expect_err("owes more");
    }

    #[test]
    fn zero_sets_no_bound() {
        let it = account(QuotaConfig::default());
        let open: Vec<_> = (0..10_000).map(|_| it.stream().expect("open")).collect();
        for _ in 0..10_000 {
            it.call().expect("a call");
            it.items(1 << 30).expect("items");
            assert_eq!(it.bytes(1 << 30), Duration::ZERO);
        }
        drop(open);
        assert_eq!(it.streams.load(Ordering::Acquire), 0);
    }

    #[test]
    fn strangers_fill_no_memory_and_debts_are_not_forgotten() {
        let mut config = CallersConfig::default();
        config.address.items_per_second = 1;
        let accounts = Accounts::new(&config, Metrics::off());
        let at = |number: u32| Caller::at(std::net::Ipv4Addr::from_bits(number).into());
        // Owed for a quarter of an hour.
        accounts.of(&at(0)).items(1000).expect("the first");
        for number in 1..20_000 {
            accounts.of(&at(number));
        }
        assert!(accounts.0.known.lock().expect("no panic").len() <= MANY);
        assert!(accounts.of(&at(0)).items(1).is_err());
    }
}
