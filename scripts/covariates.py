"""Write xitcal/assets/languages/covariates.csv: `python scripts/covariates.py WALS`, where WALS is a checkout of github.com/cldf-datasets/wals.

Two sources, named in every row:

- **WALS** (Dryer & Haspelmath (eds.) 2013, The World Atlas of Language Structures Online, v2020.4, CC BY 4.0, https://wals.info):
  for each language the share of features on which it differs from English, over all features recorded for both, and over those of
  word order alone; `n` is the number of features compared. A feature with several values differs when none of them is shared. Only
  these shares and counts are kept, none of the atlas's own rows.
- **CC-100**, what XLM-R was pretrained on: GiB of text by language from the paper (Conneau et al. 2020, arXiv 1911.02116, appendix,
  table 6), through the transcription at github.com/mayhewsw/multilingual-data-stats (cc-100/cc-100.csv). The PDF was not at hand:
  every figure is second-hand; Swahili's was checked there against the released files. Chinese is simplified Chinese; Burmese is
  without the Zawgyi part; Yoruba is not among XLM-R's languages and has no row."""
import sys
from pathlib import Path

import pandas as pd

from xitcal.data.languages import LANGUAGES

OUT = Path(__file__).parents[1] / "xitcal" / "assets" / "languages" / "covariates.csv"
WALS = "WALS v2020.4 (Dryer & Haspelmath 2013)"
CC100 = "Conneau et al. 2020 (arXiv 1911.02116), table 6"

# Code of each language in WALS; where there are several entries, the standard language
ENTRIES = dict(pair.split(":") for pair in """
en:eng af:afr ar:ams bg:bul bn:ben de:ger el:grk es:spa et:est eu:bsq fa:prs fi:fin fr:fre he:heb hi:hin hu:hun id:ind it:ita ja:jpn jv:jav
ka:geo kk:kaz ko:kor ml:mym mr:mhi ms:mly my:brm nl:dut pt:por ru:rus sw:swa ta:tml te:tel th:tha tl:tag tr:tur ur:urd vi:vie yo:yor zh:mnd""".split())

GIB = {code: float(size) for code, size in (pair.split(":") for pair in """
en:300.8 vi:137.3 ru:278.0 id:148.3 fa:111.6 de:66.6 fr:56.8 es:53.3 pt:49.1 hu:58.4 fi:54.3 ko:54.2 bg:57.5 nl:29.3 it:30.2 el:46.9 he:31.6
ar:28.0 tr:20.9 th:71.7 hi:20.2 ms:8.5 et:6.1 ur:5.7 ta:12.2 tl:3.1 ja:69.3 bn:8.4 kk:6.4 ka:9.1 ml:7.6 sw:1.6 eu:2.0 zh:46.9 te:4.7 af:1.3
mr:2.8 my:1.6 jv:0.2""".split())}
CHECKED = {"sw"} # Compared with the released files by the transcription's author


def wals(folder: Path) -> pd.DataFrame:
    "One row a language and feature: entry, feature, area, the set of its values"
    def read(file, **names): return pd.read_csv(folder / "raw" / f"{file}.csv", usecols=list(names)).rename(columns=names)
    sets = read("valueset", pk="valueset_pk", language_pk="language_pk", parameter_pk="parameter_pk")
    table = sets.merge(read("value", valueset_pk="valueset_pk", domainelement_pk="value")).merge(
        pd.read_csv(folder / "raw" / "language.csv", usecols=["pk", "id"], keep_default_na=False).rename(columns={"pk": "language_pk", "id": "entry"})).merge(
        read("parameter", pk="parameter_pk", id="feature")).merge(read("feature", pk="parameter_pk", contribution_pk="chapter")).merge(
        read("chapter", pk="chapter", area_pk="area_pk")).merge(read("area", pk="area_pk", name="area"))
    return table.groupby(["entry", "feature", "area"]).value.agg(frozenset).reset_index()


def distances(table: pd.DataFrame) -> list[dict]:
    "Share of features that differ from English, all and word order"
    rows, english = [], table[table.entry == "eng"].set_index("feature").value
    for code, entry in ENTRIES.items():
        mine = table[(table.entry == entry) & table.feature.isin(english.index)]
        differ = pd.Series([not english[f] & v for f, v in zip(mine.feature, mine.value)], dtype=float)
        for name, chosen in (("wals_distance", mine.area == mine.area), ("wals_word_order_distance", mine.area == "Word Order")):
            part = differ[chosen.to_numpy()]
            rows.append(dict(language=code, covariate=name, value=round(part.mean(), 4) if len(part) else None, n=len(part), source=WALS, certainty="computed"))
    return rows


def main():
    table = wals(Path(sys.argv[1]))
    text = [dict(language=c, covariate="cc100_gib", value=v, n=None, source=CC100, certainty="transcribed" + ", checked" * (c in CHECKED))
            for c, v in GIB.items()]
    found = pd.DataFrame(distances(table) + text).astype({"n": "Int64"})
    order = {code: i for i, code in enumerate(LANGUAGES)}
    OUT.parent.mkdir(exist_ok=True)
    found.sort_values(["covariate", "language"], key=lambda c: c.map(order) if c.name == "language" else c, kind="stable").to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
