//! `models`: the catalog and the cache.

mod show;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::Error;
use crate::base::offline;
use crate::base::signal::interrupted;
use crate::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use crate::image::DecodeOptions;
use crate::model::catalog::{Catalog, CatalogModel, ModelKind};
use crate::model::store::{
    Checked, Hub, ModelStoreError, Store, default_precision, list_repository, local_folder,
};
use crate::model::{ModelError, ModelFolder, Precision};

use super::exit::Exit;
use super::progress;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the models known by name, and which of them are on this machine.
    List {
        /// As JSON, one array.
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model into the cache; goes on where an earlier try stopped.
    Pull(PullArgs),
    /// Check the SHA-256 of every file of a model, or of all that were fetched, and that it opens.
    Verify {
        /// The model's name; default: all that were fetched.
        name: Option<String>,
    },
    /// Show what is known of a model, and whether it opens.
    Info {
        /// A name of the catalog, or a model folder.
        #[arg(value_name = "NAME|DIR")]
        model: PathBuf,
    },
    /// Make a model of your own known by name.
    Add(AddArgs),
}

/// Options of `models pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The model's name.
    pub name: String,

    /// How its weights are stored; default: the most exact there is.
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<Precision>,
}

/// Options of `models add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("place").required(true))]
pub struct AddArgs {
    /// The name it gets.
    pub name: String,

    /// A repository of the hub, OWNER/NAME; its files are pinned as the hub describes them now.
    #[arg(long, value_name = "OWNER/NAME", group = "place")]
    pub repo: Option<String>,

    /// The commit, tag or branch of the repository.
    #[arg(long, value_name = "REVISION", default_value = "main", requires = "repo")]
    pub revision: String,

    /// A model folder on this machine.
    #[arg(long, value_name = "DIR", group = "place")]
    pub dir: Option<PathBuf>,
}

/// `pairwright models`.
pub async fn models(command: &ModelsCommand) -> Result<Exit, Error> {
    let catalog = Catalog::load().map_err(ModelStoreError::from)?;
    match command {
        ModelsCommand::List { json } => {
            let store = Store::from_environment()?;
            print!("{}", show::list(&catalog, &store, *json));
            Ok(Exit::Done)
        }
        ModelsCommand::Pull(args) => pull(&catalog, args).await,
        ModelsCommand::Verify { name } => Ok(verify(&catalog, name.as_deref())?),
        ModelsCommand::Info { model } => info(&catalog, model),
        ModelsCommand::Add(args) => add(&catalog, args).await,
    }
}

async fn pull(catalog: &Catalog, args: &PullArgs) -> Result<Exit, Error> {
    let model = catalog.find(&args.name).map_err(ModelStoreError::from)?;
    let precision = match args.precision {
        Some(precision) => precision,
        None => default_precision(model)?,
    };
    let store = Store::from_environment()?;
    let pulled = if offline::is_on() {
        store.pull_offline(model, precision)?
    } else {
        let hub = Hub::from_environment()?;
        let transfer = progress::of_transfer();
        tokio::select! {
            pulled = store.pull(&hub, model, precision, &*transfer) => pulled?,
            _ = interrupted() => {
                eprintln!("stopped; what came is kept, and the same command goes on from there");
                return Ok(Exit::Interrupted);
            }
        }
    };
    println!("{}", pulled.folder.display());
    let flag = match model.kind {
        ModelKind::Dual => "--model",
        ModelKind::Sentence => "--text-model",
    };
    eprintln!(
        "{} ({precision}): {} files fetched, {} were here; use it with {flag} {}",
        model.name, pulled.fetched, pulled.kept, model.name
    );
    Ok(Exit::Done)
}

fn verify(catalog: &Catalog, name: Option<&str>) -> Result<Exit, ModelStoreError> {
    let store = Store::from_environment()?;
    let models: Vec<&CatalogModel> = match name {
        Some(name) => vec![catalog.find(name)?],
        None => {
            catalog.models().iter().filter(|model| begun(&store, model).next().is_some()).collect()
        }
    };
    let mut sound = true;
    for model in &models {
        sound &= verify_model(&store, model, name.is_some())?;
    }
    if models.is_empty() {
        println!("nothing was fetched into {}", store.root().display());
    }
    Ok(if sound { Exit::Done } else { Exit::Unsound })
}

/// Checks every precision of a model that was fetched; one asked for by name must be there.
fn verify_model(
    store: &Store,
    model: &CatalogModel,
    by_name: bool,
) -> Result<bool, ModelStoreError> {
    if let Some(path) = &model.path {
        let folder = local_folder(path);
        let problem = unopenable(ModelFolder::open(&folder)?)?;
        return Ok(told(&model.name, &folder.display().to_string(), problem));
    }
    let mut sound = true;
    let mut begun = begun(store, model);
    let first = match begun.next() {
        Some(first) => first,
        None if by_name => default_precision(model)?,
        None => return Ok(true),
    };
    for precision in std::iter::once(first).chain(begun) {
        let name = format!("{} {precision}", model.name);
        let mut whole = true;
        for Checked { path, problem } in store.verify(model, precision)? {
            whole &= told(&name, &path, problem);
        }
        // Of a model with a wrong file nothing more is to be learnt.
        if whole && model.kind == ModelKind::Dual {
            let folder = ModelFolder::open(&store.folder(model, precision))?;
            whole = told(&name, "both graphs open", unopenable(folder)?);
        }
        sound &= whole;
    }
    Ok(sound)
}

/// Prints what was found of one thing; whether it is sound.
fn told(name: &str, what: &str, problem: Option<impl Display>) -> bool {
    match &problem {
        None => println!("ok    {name}  {what}"),
        Some(problem) => println!("WRONG {name}  {what} {problem}"),
    }
    problem.is_none()
}

/// Loads both graphs, on the device that a run would take: what hashes cannot show.
fn opened(folder: ModelFolder) -> Result<OnnxEncoder, ModelError> {
    OnnxEncoder::of(folder, &EncoderOptions::default(), DecodeOptions::default())
}

/// Why a folder's graphs do not open, where that is the model's own fault.
///
/// # Errors
/// There is no ONNX Runtime to open them with.
fn unopenable(folder: ModelFolder) -> Result<Option<ModelError>, ModelError> {
    match opened(folder) {
        Ok(_) => Ok(None),
        Err(error @ (ModelError::RuntimeMissing { .. } | ModelError::RuntimeUnusable { .. })) => {
            Err(error)
        }
        Err(error) => Ok(Some(error)),
    }
}

/// The precisions of a model of which anything was fetched.
fn begun(store: &Store, model: &CatalogModel) -> impl Iterator<Item = Precision> {
    model
        .precisions()
        .filter(|one| store.record(model, *one).is_ok_and(|record| !record.files().is_empty()))
}

fn info(catalog: &Catalog, model: &Path) -> Result<Exit, Error> {
    if model.is_dir() {
        let folder = ModelFolder::open(&model.to_owned())?;
        print!("{}", show::folder(&folder));
        show::opened(None, opened(folder))?;
        return Ok(Exit::Done);
    }
    let known = catalog.find(&model.to_string_lossy()).map_err(ModelStoreError::from)?;
    let store = Store::from_environment()?;
    print!("{}", show::entry(known, &store));
    for (precision, folder) in folders(known, &store) {
        show::opened(precision, ModelFolder::open(&folder).and_then(opened))?;
    }
    Ok(Exit::Done)
}

/// The folders of a dual encoder that are on this machine, with the precision of each.
fn folders(model: &CatalogModel, store: &Store) -> Vec<(Option<Precision>, PathBuf)> {
    match &model.path {
        _ if model.kind != ModelKind::Dual => Vec::new(),
        Some(path) => vec![(None, local_folder(path))],
        None => store.pulled(model).map(|one| (Some(one), store.folder(model, one))).collect(),
    }
}

async fn add(catalog: &Catalog, args: &AddArgs) -> Result<Exit, Error> {
    let model = match (&args.repo, &args.dir) {
        (Some(repo), _) => {
            list_repository(&Hub::from_environment()?, &args.name, repo, &args.revision).await?
        }
        (None, Some(dir)) => own_folder(&args.name, dir)?,
        // clap requires one of the two.
        (None, None) => return Ok(Exit::Usage),
    };
    let file = catalog.add(&model).map_err(ModelStoreError::from)?;
    print!("{}", show::entry(&model, &Store::from_environment()?));
    eprintln!("added to {}", file.display());
    Ok(Exit::Done)
}

/// An entry for a folder, which must open.
fn own_folder(name: &str, dir: &Path) -> Result<CatalogModel, Error> {
    let manifest = opened(ModelFolder::open(&dir.to_owned())?)?.manifest().clone();
    let path = std::path::absolute(dir)
        .map_err(|source| ModelStoreError::Io { path: dir.to_owned(), source })?;
    let mut model = CatalogModel::new(name);
    model.path = Some(path);
    model.license = manifest.license;
    model.note = manifest.notice.unwrap_or_default();
    model.width = Some(manifest.embedding_dim);
    model.context_length = Some(manifest.text.context_length);
    model.image_size = Some(manifest.vision.preprocess.crop);
    Ok(model)
}
