//! `prompts`: what the LLM is told.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::answer::PromptSet;
use crate::answer::prompt::BuiltIn;
use crate::evaluate::JudgePrompts;
use crate::instruction::prompt::{self, AugmentPrompts, SummarizePrompts};
use crate::llm::{BuiltInSet, PromptSource};
use crate::measure::{Question, judged};

use super::exit::Exit;

/// Options of `prompts`.
#[derive(Debug, Args)]
pub struct PromptsArgs {
    /// Built-in set, capable or small, or a folder with prompts.
    #[arg(long, value_name = "SET|DIR", default_value = "capable")]
    pub prompts: PromptSource,

    /// In-context examples, .jsonl; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub examples: Option<PathBuf>,

    /// Examples per prompt.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub examples_per_prompt: usize,
}

/// `pairwright prompts`.
pub fn prompts(args: &PromptsArgs) -> Result<Exit, Error> {
    let (built_in, folder) = match &args.prompts {
        PromptSource::Set(set) => (*set, None),
        PromptSource::Folder(folder) => (BuiltInSet::Capable, Some(folder.as_path())),
    };
    let answer = BuiltIn::of(built_in);
    let set = PromptSet::read(&answer, folder, args.examples.as_deref(), args.examples_per_prompt)?;
    println!("hash {}\n\n== answer.system.txt\n{}", set.hash, set.system.trim());
    println!("\n== answer.user.txt\n{}", set.user.trim());
    if let Some(retry) = &set.retry {
        println!("\n== answer.retry.txt\n{}", retry.trim());
    }
    println!(
        "\n== {} in-context examples, {} drawn per prompt",
        set.examples.len(),
        set.per_prompt
    );
    for example in &set.examples {
        println!("\n[{}] {}\n{}", example.id, example.instruction, example.answer);
    }
    let built_in = prompt::built_in(built_in, built_in);
    let augment = AugmentPrompts::read(folder, &built_in)?.prompts;
    let summarize = SummarizePrompts::read(folder, &built_in)?.prompts;
    for stage in [augment, summarize] {
        println!("\nhash {}", stage.hash);
        for (name, text) in &stage.texts {
            println!("\n== {name}\n{}", text.trim());
        }
    }
    // A folder of answer prompts need not hold a judge's.
    let own = folder.filter(|folder| folder.join("judge.user.txt").is_file());
    let judge = JudgePrompts::read(own)?;
    println!("\n== judge, hash {}\n\n== judge.system.txt\n{}", judge.hash, judge.system.trim());
    println!("\n== judge.user.txt\n{}", judge.user.trim());
    let measures = judged::JudgePrompts::read(folder, &judged::JudgePrompts::built_in())?;
    for question in Question::ALL {
        println!("\n== measures: {}, hash {}", question.name(), measures.hash(question));
    }
    for (name, text) in measures.texts() {
        println!("\n== {name}\n{}", text.trim());
    }
    Ok(Exit::Done)
}
