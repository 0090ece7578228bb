//! The charts, rendered and packaged by real Helm and judged as the objects that they become.

mod classes;
mod restricted;
mod rules;

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde_json::Value;

pub(super) use self::classes::{CLASSES, Class};
use super::{
    place::Place,
    yaml::{documents, items},
};
use crate::{
    report::Report,
    tool::{self, Hint, run as run_tool},
};

const HINT: Hint = Hint::new("run again", "mend the chart: Helm says where");
/// Where the charts are installed when nobody says otherwise.
pub(super) const NAMESPACE: &str = "weir-system";

/// Helm, the charts, and a folder for values files.
pub(super) struct Charts<'a> {
    place: &'a Place,
    helm: PathBuf,
    folder: PathBuf,
}

/// Checks both charts with every class of values.
pub(super) fn run(place: &Place, report: &mut Report) -> anyhow::Result<()> {
    let charts = Charts::new(place)?;
    for chart in ["weir-crds", "weir"] {
        report.check(&format!("charts: {chart} packages"), || charts.package(chart));
    }
    report.check("charts: weir-crds lints", || charts.lint("weir-crds", &CLASSES[0]));
    report.check("charts: weir-crds is crds/ with the keep annotation", || rules::crds_are_kept(&charts));
    let mut rendered = Vec::new();
    for class in &CLASSES {
        report.check(&format!("charts: weir with {} lints and renders the same twice", class.name), || {
            charts.lint("weir", class)?;
            let first = charts.render("weir", class)?;
            anyhow::ensure!(
                first == charts.render("weir", class)?,
                "two renderings differ: what is random in it?"
            );
            let objects = documents(&first)?;
            let seen = format!("{} objects", objects.len());
            rendered.push(Rendered { class, objects });
            anyhow::Ok(seen)
        });
    }
    report.check("charts: unknown and incomplete values are refused", || classes::refused(&charts));
    rules::check(place, &rendered, report);
    Ok(())
}

/// What the chart weir becomes with one class of values.
struct Rendered {
    class: &'static Class,
    objects: Vec<Value>,
}

impl Rendered {
    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// Returns the pod templates of all workloads.
    fn pods(&self) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter_map(|object| object.pointer("/spec/template"))
            .filter(|template| !items(template, "/spec/containers").is_empty())
    }
}

impl<'a> Charts<'a> {
    /// Installs Helm when it is missing.
    pub(super) fn new(place: &'a Place) -> anyhow::Result<Self> {
        Ok(Self { place, helm: tool::helm()?, folder: place.subfolder("charts")? })
    }

    /// Renders a chart as `helm install` would.
    pub(super) fn render(&self, chart: &str, class: &Class) -> anyhow::Result<String> {
        self.helm(&["template", "weir", &format!("charts/{chart}"), "--namespace", NAMESPACE], class)
    }

    fn lint(&self, chart: &str, class: &Class) -> anyhow::Result<String> {
        self.helm(&["lint", "--strict", "--quiet", &format!("charts/{chart}")], class).map(|_| String::new())
    }

    fn package(&self, chart: &str) -> anyhow::Result<String> {
        let folder = self.folder.to_string_lossy().into_owned();
        let printed =
            self.helm(&["package", &format!("charts/{chart}"), "--destination", &folder], &CLASSES[0])?;
        let name = printed.trim().rsplit('/').next().unwrap_or_default();
        Ok(name.to_owned())
    }

    fn helm(&self, args: &[&str], class: &Class) -> anyhow::Result<String> {
        let mut command = self.place.command(&self.helm, args);
        // The person's own repositories and plugins have no part in this.
        for (name, folder) in
            [("HELM_CONFIG_HOME", "config"), ("HELM_CACHE_HOME", "cache"), ("HELM_DATA_HOME", "data")]
        {
            command.env(name, self.folder.join(folder));
        }
        if !class.values.is_empty() {
            let file = self.folder.join("values.yaml");
            fs::write(&file, class.values).context("failed to write a values file")?;
            command.arg("--values").arg(file);
        }
        run_tool(&mut command, &HINT)
    }
}
