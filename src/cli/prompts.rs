//! `prompts`: what the LLM is told.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::answer::PromptSet;
use crate::evaluate::JudgePrompts;
use crate::instruction::prompt::{AugmentPrompts, SummarizePrompts};

use super::exit::Exit;

/// Options of `prompts`.
#[derive(Debug, Args)]
pub struct PromptsArgs {
    /// Folder with answer.system.txt and answer.user.txt; default: the built-in prompts.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,

    /// In-context examples, .jsonl; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub examples: Option<PathBuf>,

    /// Examples per prompt.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub examples_per_prompt: usize,
}

/// `pairwright prompts`.
pub fn prompts(args: &PromptsArgs) -> Result<Exit, Error> {
    let set = PromptSet::read(
        args.prompts.as_deref(),
        args.examples.as_deref(),
        args.examples_per_prompt,
    )?;
    println!("hash {}\n\n== answer.system.txt\n{}", set.hash, set.system.trim());
    println!("\n== answer.user.txt\n{}", set.user.trim());
    println!(
        "\n== {} in-context examples, {} drawn per prompt",
        set.examples.len(),
        set.per_prompt
    );
    for example in &set.examples {
        println!("\n[{}] {}\n{}", example.id, example.instruction, example.answer);
    }
    let prompts = args.prompts.as_deref();
    let augment = AugmentPrompts::read(prompts)?.0;
    let summarize = SummarizePrompts::read(prompts)?.0;
    for stage in [augment, summarize] {
        println!("\nhash {}", stage.hash);
        for (name, text) in &stage.texts {
            println!("\n== {name}\n{}", text.trim());
        }
    }
    // A folder of answer prompts need not hold a judge's.
    let own = args.prompts.as_deref().filter(|folder| folder.join("judge.user.txt").is_file());
    let judge = JudgePrompts::read(own)?;
    println!("\n== judge, hash {}\n\n== judge.system.txt\n{}", judge.hash, judge.system.trim());
    println!("\n== judge.user.txt\n{}", judge.user.trim());
    Ok(Exit::Done)
}
