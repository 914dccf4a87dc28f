//! `embed`: photos or texts to a `.npy` file.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Error;
use crate::base::durable::Staged;
use crate::base::json;
use crate::dataset::sink::{NpyWriter, SinkError};
use crate::dataset::source::SourceError;
use crate::dataset::{ImageRef, Photos};
use crate::encoder::{
    Embedding, Encoder, EncoderOptions, OnnxEncoder, OrderedPool, SentenceEncoder, in_order,
};
use crate::image::{DecodeOptions, Format, ImageError, Pixels, Preprocessor};
use crate::sandbox::FileAccess;
use crate::work::Phase;

use super::args::ModelArgs;
use super::exit::Exit;
use super::progress;

/// Options of `embed`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct EmbedArgs {
    /// Folder of photos (recursive).
    #[arg(long, value_name = "DIR", group = "input")]
    pub images: Option<PathBuf>,

    /// Text file, one text per line.
    #[arg(long, value_name = "FILE", group = "input")]
    pub texts: Option<PathBuf>,

    /// Writes PREFIX.npy (float32 [N, D], L2-normalised) and PREFIX.jsonl (one {"id"} per row).
    #[arg(long, value_name = "PREFIX")]
    pub out: PathBuf,

    /// Encoder folder, or a name of `pairwright models list`; default: the bundled stand-in, not CLIP.
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,

    #[command(flatten)]
    pub model_choice: ModelArgs,

    /// Embed texts with this fastembed model instead (e.g. BGESmallENV15, fetched by `models pull`).
    #[arg(long, value_name = "NAME", requires = "texts", conflicts_with = "model")]
    pub text_model: Option<String>,

    /// Photos per inference call, 1 to 256.
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch_size: u16,

    /// Threads inside one inference call; 0: one per core, for texts one call of one thread per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub intra_threads: usize,

    /// Threads that decode photos; 0: one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub decode_threads: usize,
}

/// Texts that the dual encoder gets at once: it puts those of like length into one call, and of
/// thousands, those in one call are hardly padded.
const TEXTS: usize = 4096;

/// Texts that a sentence embedder gets at once: its calls hold them as they come.
const SENTENCES: usize = 256;

/// `pairwright embed`.
pub fn embed(args: &EmbedArgs) -> Result<Exit, Error> {
    let mut output = Output::new(&args.out);
    match (&args.images, &args.texts) {
        (Some(folder), _) => images(args, folder, &mut output)?,
        (None, Some(file)) => texts(args, file, &mut output)?,
        // clap requires one of the two.
        (None, None) => return Ok(Exit::Usage),
    }
    let (rows, refused) = (output.rows, output.refused);
    let first = output.first_refusal.take();
    output.finish()?;
    if rows == 0 {
        let first =
            first.map_or("the input holds no text".into(), |first| format!("first {first}"));
        eprintln!("error: nothing was embedded, {refused} refused, {first}; no file was written");
        return Ok(Exit::Nothing);
    }
    println!("{rows} rows in {}.npy, {refused} refused", args.out.display());
    Ok(Exit::Done)
}

fn open_encoder(args: &EmbedArgs) -> Result<OnnxEncoder, Error> {
    let mut options = EncoderOptions {
        intra_threads: args.intra_threads,
        batch_size: args.batch_size.into(),
        decode_threads: args.decode_threads,
        device: args.model_choice.device.unwrap_or_default(),
        ..EncoderOptions::default()
    };
    if args.texts.is_some() && args.intra_threads == 0 {
        // Calls side by side do not wait for each other's threads, as those inside one do.
        options.text_sessions = options.resolved_intra_threads();
        options.intra_threads = 1;
    }
    let source = args.model_choice.model(args.model.clone()).source()?;
    Ok(OnnxEncoder::open(source, &options, DecodeOptions::default())?)
}

fn images(args: &EmbedArgs, folder: &Path, output: &mut Output) -> Result<(), Error> {
    let files = photos_below(folder)?;
    let encoder = open_encoder(args)?;
    let progress = progress::for_terminal();
    progress.expect(Phase::Embed, files.len() as u64);
    let size = usize::from(args.batch_size);
    let pool = OrderedPool { threads: decode_threads(args), ahead: size * 4 };
    let mut batch: Vec<(String, Pixels)> = Vec::with_capacity(size);
    let mut result = Ok(());
    let work = |path: &PathBuf| prepare(encoder.preprocessor(), path);
    in_order(pool, files.into_iter(), work, |path, prepared| {
        let id = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        match prepared {
            Ok(Ok(pixels)) => batch.push((id, pixels)),
            Ok(Err(error)) => output.refuse(&path, &error.to_string()),
            Err(_) => output.refuse(&path, "the decoder panicked on this file; please report it"),
        }
        progress.advance(Phase::Embed, 1);
        if batch.len() == size {
            result = write_batch(&encoder, std::mem::take(&mut batch), output);
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    result?;
    progress.finish(Phase::Embed);
    write_batch(&encoder, batch, output)
}

/// Every photo below `folder`, told by its ending, sorted by path; symlinked folders are not
/// followed.
fn photos_below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Err(SourceError::NotFound { path: folder.to_owned() }.into());
    }
    let is_photo = |path: &Path| {
        path.extension().is_some_and(|ending| Format::is_ending(&ending.to_string_lossy()))
    };
    let files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.is_file() && is_photo(path))
        .collect();
    if files.is_empty() {
        return Err(
            SourceError::Empty { path: folder.to_owned(), expected: "photos".into() }.into()
        );
    }
    Ok(files)
}

fn decode_threads(args: &EmbedArgs) -> usize {
    let options = EncoderOptions { decode_threads: args.decode_threads, ..Default::default() };
    options.resolved_decode_threads()
}

fn prepare(preprocessor: &Preprocessor, path: &Path) -> Result<Pixels, ImageError> {
    let limits = &preprocessor.options().limits;
    let bytes = FileAccess::Anywhere.read(&ImageRef::file(path), limits)?;
    preprocessor.prepare(&bytes).map(|(pixels, _)| pixels)
}

fn write_batch(
    encoder: &OnnxEncoder,
    batch: Vec<(String, Pixels)>,
    output: &mut Output,
) -> Result<(), Error> {
    let (ids, pixels): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let vectors = encoder.embed_images(&pixels)?;
    ids.iter().zip(vectors).try_for_each(|(id, vector)| output.push(id, &vector, false))
}

fn texts(args: &EmbedArgs, file: &Path, output: &mut Output) -> Result<(), Error> {
    let content = fs_err::read_to_string(file)
        .map_err(|source| SinkError::Read { path: file.to_owned(), source })?;
    let lines: Vec<(usize, &str)> = content
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .collect();
    let mut embedder = TextEmbedder::open(args)?;
    for chunk in lines.chunks(embedder.at_once()) {
        let texts: Vec<&str> = chunk.iter().map(|(_, text)| *text).collect();
        for ((number, _), (vector, truncated)) in chunk.iter().zip(embedder.embed(&texts)?) {
            output.push(&number.to_string(), &vector, truncated)?;
        }
    }
    Ok(())
}

enum TextEmbedder {
    Dual(Box<OnnxEncoder>),
    Sentence(Box<SentenceEncoder>),
}

impl TextEmbedder {
    fn open(args: &EmbedArgs) -> Result<Self, Error> {
        Ok(match &args.text_model {
            Some(name) => {
                Self::Sentence(Box::new(SentenceEncoder::open(name, args.intra_threads)?))
            }
            None => Self::Dual(Box::new(open_encoder(args)?)),
        })
    }

    fn at_once(&self) -> usize {
        match self {
            Self::Dual(_) => TEXTS,
            Self::Sentence(_) => SENTENCES,
        }
    }

    /// Vectors, and whether each text was cut at the model's context length where that is known.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<(Embedding, bool)>, Error> {
        Ok(match self {
            Self::Dual(encoder) => {
                let embedded = encoder.embed_texts(texts)?;
                embedded.into_iter().map(|text| (text.vector, text.truncated)).collect()
            }
            Self::Sentence(encoder) => {
                encoder.embed(texts)?.into_iter().map(|vector| (vector, false)).collect()
            }
        })
    }
}

/// `PREFIX.npy` and `PREFIX.jsonl`, row for row.
struct Output {
    prefix: PathBuf,
    files: Option<(NpyWriter, Staged)>,
    rows: u64,
    refused: u64,
    /// File and reason.
    first_refusal: Option<String>,
}

impl Output {
    fn new(prefix: &Path) -> Self {
        Self { prefix: prefix.to_owned(), files: None, rows: 0, refused: 0, first_refusal: None }
    }

    fn refuse(&mut self, path: &Path, reason: &str) {
        self.refused += 1;
        self.first_refusal.get_or_insert_with(|| format!("{}: {reason}", path.display()));
        tracing::warn!(file = %path.display(), "refused: {reason}");
    }

    fn push(&mut self, id: &str, vector: &[f32], truncated: bool) -> Result<(), Error> {
        let ids = self.ids_path();
        let npy = self.npy_path();
        let (array, lines) = match &mut self.files {
            Some(files) => files,
            empty => {
                let lines = Staged::create(&ids)
                    .map_err(|source| SinkError::Io { path: ids.clone(), source })?;
                empty.insert((NpyWriter::create(&npy, vector.len())?, lines))
            }
        };
        array.push(vector)?;
        let mut row = serde_json::json!({ "id": id });
        if truncated {
            row["truncated"] = true.into();
        }
        let mut line = Vec::new();
        let written = json::append(&mut line, &row).map_err(io::Error::from).and_then(|()| {
            line.push(b'\n');
            lines.write_all(&line)
        });
        written.map_err(|source| SinkError::Io { path: ids, source })?;
        self.rows += 1;
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        let ids = self.ids_path();
        let Some((array, lines)) = self.files else { return Ok(()) };
        array.finish()?;
        lines.commit().map_err(|source| SinkError::Io { path: ids, source })?;
        Ok(())
    }

    fn npy_path(&self) -> PathBuf {
        suffixed(&self.prefix, ".npy")
    }

    fn ids_path(&self) -> PathBuf {
        suffixed(&self.prefix, ".jsonl")
    }
}

fn suffixed(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
