//! One role's part of a ledger: counts its calls, and lets none begin that could go over a cap.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Line};
use crate::base::db::DbError;
use crate::llm::config::LlmConfig;
use crate::llm::error::LlmFault;
use crate::llm::spent::{Prices, Spending, Spent, money};

/// Who spends, and by which settings. The caps count what every role of the same section has spent.
pub struct Account {
    pub(in crate::llm) ledger: Arc<Ledger>,
    pub(in crate::llm) line: Line,
    pub(in crate::llm) config: LlmConfig,
    prices: Option<Prices>,
}

impl Account {
    /// The account of `role`, whose settings are those of the table `section`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn new(
        ledger: &Arc<Ledger>,
        (section, role): (&str, &str),
        config: &LlmConfig,
    ) -> Result<Self, DbError> {
        let prices = config.prices();
        ledger.set_prices(section, prices)?;
        let line = (section.to_owned(), role.to_owned(), String::new());
        Ok(Self { ledger: Arc::clone(ledger), line, config: config.clone(), prices })
    }

    /// The same account, for the calls of this model.
    pub(in crate::llm) fn of_model(mut self, model: &str) -> Arc<Self> {
        model.clone_into(&mut self.line.2);
        Arc::new(self)
    }

    /// What the whole ledger tells.
    pub(in crate::llm) fn spending(&self) -> Spending {
        self.ledger.spending()
    }

    pub(in crate::llm) fn spend(&self, spent: Spent) {
        self.ledger.add(&self.line, spent);
    }

    fn section(&self) -> &str {
        &self.line.0
    }

    /// A place for a call that may spend `expected`. Waits while only the end of calls under way
    /// shows whether there is room for it.
    ///
    /// # Errors
    /// `SpendingCap` when there is none; `Ledger` when nothing can be counted any more.
    pub(in crate::llm) async fn reserve(
        self: &Arc<Self>,
        expected: Spent,
        cancel: &CancellationToken,
    ) -> Result<Place, LlmFault> {
        loop {
            let mut freed = std::pin::pin!(self.ledger.freed.notified());
            freed.as_mut().enable();
            if let Some(place) = self.try_reserve(expected)? {
                return Ok(place);
            }
            let waited = cancel.run_until_cancelled(freed).await;
            waited.ok_or(LlmFault::Cancelled)?;
        }
    }

    fn try_reserve(self: &Arc<Self>, expected: Spent) -> Result<Option<Place>, LlmFault> {
        let mut book = self.ledger.book();
        if let Some(reason) = &book.failed {
            return Err(LlmFault::Ledger { reason: reason.clone() });
        }
        let (spent, under_way, at_servers) = book.of_section(self.section());
        let mut least = spent;
        least += at_servers;
        least += expected;
        if let Some(fault) = self.over_cap(spent, expected, least) {
            return Err(fault);
        }
        let mut most = least;
        most += under_way;
        if self.over_cap(spent, expected, most).is_some() {
            return Ok(None);
        }
        *book.under_way.entry(self.section().to_owned()).or_default() += expected;
        Ok(Some(Place { account: Arc::clone(self), expected }))
    }

    /// A place for the call of `key`, which is at `server` since an earlier session: its money is
    /// given away.
    pub(in crate::llm) fn take_over(
        self: &Arc<Self>,
        (server, key): (&str, &str),
        expected: Spent,
    ) -> Place {
        let mut book = self.ledger.book();
        book.at_servers.remove(server, key);
        *book.under_way.entry(self.section().to_owned()).or_default() += expected;
        Place { account: Arc::clone(self), expected }
    }

    /// Calls have ended at `server`: what was held for those that nobody has taken over is free.
    pub(in crate::llm) fn settle<'a>(&self, server: &str, keys: impl Iterator<Item = &'a str>) {
        let mut book = self.ledger.book();
        keys.for_each(|key| book.at_servers.remove(server, key));
        drop(book);
        self.ledger.freed.notify_waiters();
    }

    /// The cap that `sum` is over, if it is over one.
    fn over_cap(&self, spent: Spent, expected: Spent, sum: Spent) -> Option<LlmFault> {
        let fault = |setting: &str, cap: String, spent: String, next: String| {
            let setting = format!("{}.{setting}", self.section()).into();
            let (cap, spent, next) = (cap.into(), spent.into(), next.into());
            LlmFault::SpendingCap { setting, cap, spent, next }
        };
        if let Some(cap) = self.config.max_tokens_total.filter(|cap| sum.tokens() > *cap) {
            let tokens = |spent: Spent| format!("{} tokens", spent.tokens());
            return Some(fault(
                "max_tokens_total",
                cap.to_string(),
                tokens(spent),
                tokens(expected),
            ));
        }
        let (cap, prices) = self.config.max_cost.zip(self.prices)?;
        let cost = |spent: Spent| money(spent.cost(&prices));
        let over = sum.cost(&prices) > cap;
        over.then(|| fault("max_cost", cap.to_string(), cost(spent), cost(expected)))
    }
}

/// Room for one call under the caps, given back when dropped.
pub(in crate::llm) struct Place {
    account: Arc<Account>,
    expected: Spent,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.account.ledger.book();
        if let Some(under_way) = book.under_way.get_mut(self.account.section()) {
            *under_way -= self.expected;
        }
        drop(book);
        self.account.ledger.freed.notify_waiters();
    }
}
