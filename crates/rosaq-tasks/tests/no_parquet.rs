//! A build that does not read Parquet says how to get one that does.
#![cfg(not(feature = "parquet"))]

use std::fs;

use rosaq_tasks::{LoadOptions, load, select};
use tempfile::TempDir;

#[test]
fn the_feature_is_named_once() {
    let dir = TempDir::new().unwrap();
    let place = "hellaswag/data/validation-00000-of-00001.parquet";
    fs::create_dir_all(dir.path().join("hellaswag/data")).unwrap();
    fs::write(dir.path().join(place), "PAR1").unwrap();
    let task = select(&["hellaswag".to_owned()], None).unwrap().remove(0);
    let error = load(&task, dir.path(), LoadOptions::default()).unwrap_err().to_string();
    let path = dir.path().join(place);
    assert_eq!(
        error,
        format!(
            "\"{}\" is a Parquet file, which this build does not read; build with `--features parquet`, or put the files \
             there that the data set's authors hand out",
            path.display()
        )
    );
}
