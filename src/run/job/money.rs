//! What the job's language models spend: one ledger for all roles of the run.

use std::sync::{Arc, PoisonError};

use crate::Error;
use crate::base::db::DbError;
use crate::dataset::store::Store;
use crate::generate;
use crate::llm::{self, Account, ChatModel, Ledger, LlmConfig, LlmError, SpentBefore};

use super::super::store_path;
use super::Job;

impl Job {
    /// The model with its calls counted on the run's ledger, held to the caps of `config`, and made
    /// by the batch where that says so. `section` is the table of the configuration that `config`
    /// is, `role` what the model does.
    ///
    /// # Errors
    /// The ledger cannot be opened; calls are to go by the batch and the server takes none.
    pub(super) fn on_account(
        &self,
        model: Arc<dyn ChatModel>,
        section_and_role: (&str, &str),
        config: &LlmConfig,
    ) -> Result<Arc<dyn ChatModel>, Error> {
        let account = Account::new(&self.ledger()?, section_and_role, config)?;
        Ok(llm::on_account(account, model).map_err(LlmError::from)?)
    }

    /// The run's ledger, opened when it is first needed.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn ledger(&self) -> Result<Arc<Ledger>, DbError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = &*ledger {
            return Ok(Arc::clone(ledger));
        }
        let opened = Ledger::open(self.folder.path(), || self.spent_before())?;
        Ok(Arc::clone(ledger.insert(opened)))
    }

    /// What a run of an older release has spent, as far as its stores tell.
    fn spent_before(&self) -> Result<Vec<SpentBefore>, DbError> {
        let mut spent = Vec::new();
        if store_path(self.folder.path()).is_file() {
            let answers =
                Store::open_to_read(&store_path(self.folder.path()))?.spent_on_answers()?;
            spent.extend(answers.into_iter().map(|(model, spent)| ("llm", "answer", model, spent)));
        }
        if let Some(store) = generate::folder::open_if_there(self.folder.path())? {
            spent.extend(generate::spent_before(&store)?);
        }
        Ok(spent)
    }
}
