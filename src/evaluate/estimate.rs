//! What an evaluation would take.

use crate::Error;
use crate::work::Estimate;

use super::image_view::Sight;
use super::judge::{Board, Judge};
use super::prompt::Turn;
use super::store::Record;

impl Judge {
    pub(super) fn estimate(&self, board: &Board, record: &Record) -> Result<Estimate, Error> {
        let tasks = board.tasks(self);
        let calls = tasks.len() as u64;
        let open = self.open(tasks, record);
        let mut estimate =
            Estimate { calls, kept: calls - open.len() as u64, ..Default::default() };
        let image = board.view.sight() == Sight::Image;
        for task in open {
            let question = &board.questions[task.question];
            let user = self.prompts.turn(Turn {
                image: board.view.words(question),
                instruction: &question.text,
                answer_a: &board.entrants[task.a].answers[task.question],
                answer_b: &board.entrants[task.b].answers[task.question],
            });
            let characters = self.prompts.system.chars().count() + user.chars().count();
            estimate.add(characters, image, self.settings.max_tokens);
        }
        Ok(estimate)
    }
}
