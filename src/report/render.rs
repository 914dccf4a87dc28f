//! From data to HTML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use sha2::{Digest, Sha256};

use super::view::View;
use super::{GenerationReport, ReportData, ReportError, format};

const STYLE: &str = include_str!("page/report.css");
const SCRIPT: &str = include_str!("page/report.js");

/// The page's parts. Their names end in `.html`, which switches escaping on.
const TEMPLATES: [(&str, &str); 9] = [
    ("report.html", include_str!("page/report.html.j2")),
    ("macros.html", include_str!("page/macros.html.j2")),
    ("overview.html", include_str!("page/overview.html.j2")),
    ("samples.html", include_str!("page/samples.html.j2")),
    ("measures.html", include_str!("page/measures.html.j2")),
    ("matching.html", include_str!("page/matching.html.j2")),
    ("generation.html", include_str!("page/generation.html.j2")),
    ("generation_page.html", include_str!("page/generation_page.html.j2")),
    ("lineage.html", include_str!("page/lineage.html.j2")),
];

/// Renders the page. Equal data gives equal bytes.
///
/// # Errors
/// [`ReportError::Template`] when the template refuses the data, which is a fault of this program.
pub fn render(data: &ReportData) -> Result<String, ReportError> {
    let environment = environment()?;
    let page = environment.get_template("report.html")?.render(context! {
        data => Value::from(Serde(data)),
        generation => Value::from(Serde(&data.generation)),
        view => Value::from(Serde(View::new(data))),
        style => Value::from_safe_string(STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        script_hash => script_hash(),
    })?;
    Ok(page)
}

/// Renders the page of a generation. Equal data gives equal bytes.
///
/// # Errors
/// As [`render`].
pub fn render_generation(data: &GenerationReport) -> Result<String, ReportError> {
    let environment = environment()?;
    Ok(environment.get_template("generation_page.html")?.render(context! {
        generation => Value::from(Serde(data)),
        style => Value::from_safe_string(STYLE.to_owned()),
    })?)
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    format::register(&mut environment);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// The page's own script as its content security policy names it: no other script can run, even
/// if one found its way into the page.
fn script_hash() -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(SCRIPT)))
}
