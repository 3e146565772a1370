//! The CSV file, plain or gzipped, line by line.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;

/// One line of the file, its values to be had by the name of their column.
pub(crate) struct Line<'a> {
    headers: &'a StringRecord,
    record: &'a StringRecord,
}

impl Line<'_> {
    /// The value of a column that every flight has.
    pub(crate) fn required<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T> {
        self.optional(column)?
            .ok_or_else(|| anyhow!("`{column}` is empty, but every flight must have it"))
    }

    /// The value of a column, `None` where the file says `NA` or nothing.
    pub(crate) fn optional<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>> {
        let position = self.headers.iter().position(|name| name == column).ok_or_else(|| {
            anyhow!("the file has no column `{column}`; it takes those of nycflights13's table `flights`")
        })?;
        match self.record.get(position).unwrap_or_default() {
            "" | "NA" => Ok(None),
            text => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(anyhow!(
                    "`{column}` is {text:?}, which cannot be read: {error}; correct the line"
                )),
            },
        }
    }
}

/// Calls `each` for every line; what goes wrong there is told with the line's number.
pub(crate) fn for_each_line(
    path: &Path,
    mut each: impl FnMut(&Line<'_>) -> Result<()>,
) -> Result<()> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let headers = reader.headers().with_context(|| unreadable(path))?.clone();
    let mut record = StringRecord::new();
    loop {
        let more = reader.read_record(&mut record).with_context(|| unreadable(path))?;
        if !more {
            return Ok(());
        }
        let line = Line { headers: &headers, record: &record };
        each(&line).with_context(|| {
            let number = record.position().map_or(0, csv::Position::line);
            format!("{}, line {number}", path.display())
        })?;
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let missing = || format!("cannot open {}; give the flights with --input FILE", path.display());
    let mut file = BufReader::new(File::open(path).with_context(missing)?);
    let start = file.fill_buf().with_context(|| unreadable(path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(file)));
    }
    Ok(Box::new(file))
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {} as a CSV file, plain or gzipped", path.display())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;

    /// The columns that the files of the tests have.
    pub(crate) const HEADER: &str = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,\
        arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour";

    /// A file of these lines that is deleted with the value.
    pub(crate) struct TestFile(pub(crate) PathBuf);

    impl TestFile {
        pub(crate) fn new(name: &str, lines: &[&str]) -> Self {
            let path =
                std::env::temp_dir().join(format!("departures-{}-{name}", std::process::id()));
            let mut file = File::create(&path).expect("a temporary file can be made");
            for line in [HEADER].iter().chain(lines) {
                writeln!(file, "{line}").expect("a temporary file can be written");
            }
            Self(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            // At worst an empty file stays behind in the temporary directory.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const GOOD: &str =
        "2013,1,1,517,515,2,830,819,11,UA,1545,NA,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z";

    #[test]
    fn na_and_nothing_are_no_value() {
        let file = TestFile::new("na", &[GOOD]);
        for_each_line(&file.0, |line| {
            assert_eq!(line.optional::<String>("tailnum")?, None);
            assert_eq!(line.optional::<i32>("dep_delay")?, Some(2));
            Ok(())
        })
        .expect("the file is fine");
    }

    #[test]
    fn a_bad_value_is_told_with_its_line_and_column() {
        let file = TestFile::new("bad", &[GOOD, &GOOD.replace("1545", "15x5")]);
        let read = for_each_line(&file.0, |line| line.required::<i32>("flight").map(drop));
        let message = format!("{:#}", read.expect_err("line 3 is bad"));
        assert!(message.contains("line 3: `flight` is \"15x5\""), "{message}");
    }

    #[test]
    fn a_line_with_too_few_values_and_a_missing_file_are_told() {
        let file = TestFile::new("short", &["2013,1"]);
        let message =
            format!("{:#}", for_each_line(&file.0, |_| Ok(())).expect_err("line 2 is short"));
        assert!(message.contains("line: 2"), "{message}");
        let message =
            format!("{:#}", for_each_line(Path::new("/no/file"), |_| Ok(())).expect_err("no file"));
        assert!(message.contains("--input"), "{message}");
    }
}
