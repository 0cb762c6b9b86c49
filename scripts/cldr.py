"""Extract from Babel the CLDR tables that the embedded suite is generated from: `python scripts/cldr.py`.

Babel changes locale data that it shares between locales (Swahili printed month names of a locale loaded before), so
every locale is read in a process of its own. The result names the Babel and the CLDR version it was made with.
"""
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / 'xitcal' / 'assets' / 'embedded'
LANGUAGES = ('en af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl '
             'tr ur vi yo zh').split()
ZONES = """DE Europe/Berlin FR Europe/Paris ES Europe/Madrid IT Europe/Rome GB Europe/London PT Europe/Lisbon
NL Europe/Amsterdam BE Europe/Brussels AT Europe/Vienna CH Europe/Zurich PL Europe/Warsaw HU Europe/Budapest
RO Europe/Bucharest BG Europe/Sofia GR Europe/Athens RU Europe/Moscow UA Europe/Kiev FI Europe/Helsinki
SE Europe/Stockholm NO Europe/Oslo DK Europe/Copenhagen IE Europe/Dublin EE Europe/Tallinn CZ Europe/Prague
RS Europe/Belgrade HR Europe/Zagreb TR Europe/Istanbul GE Asia/Tbilisi IL Asia/Jerusalem SA Asia/Riyadh
IQ Asia/Baghdad IR Asia/Tehran PK Asia/Karachi BD Asia/Dhaka IN Asia/Calcutta LK Asia/Colombo NP Asia/Katmandu
MM Asia/Rangoon TH Asia/Bangkok VN Asia/Saigon MY Asia/Kuala_Lumpur ID Asia/Jakarta PH Asia/Manila CN Asia/Shanghai
TW Asia/Taipei JP Asia/Tokyo KR Asia/Seoul MN Asia/Ulaanbaatar KZ Asia/Almaty UZ Asia/Tashkent EG Africa/Cairo
MA Africa/Casablanca NG Africa/Lagos GH Africa/Accra KE Africa/Nairobi TZ Africa/Dar_es_Salaam ET Africa/Addis_Ababa
ZA Africa/Johannesburg SN Africa/Dakar US America/New_York CA America/Toronto MX America/Mexico_City CU America/Havana
CO America/Bogota PE America/Lima CL America/Santiago AR America/Buenos_Aires BR America/Sao_Paulo VE America/Caracas
AU Australia/Sydney NZ Pacific/Auckland FJ Pacific/Fiji""".split()
CITIES = dict(zip(ZONES[::2], ZONES[1::2]))
CONTINENT_OF_ZONE = {'Europe': '150', 'Asia': '142', 'Africa': '002', 'America': '019', 'Australia': '009',
                     'Pacific': '009'}
MAIN_LANGUAGE = dict(pair.split(':') for pair in (
    'IN:hi CH:de BE:nl ZA:af KE:sw TZ:sw NG:yo CA:fr PK:ur PH:fil SN:wo GH:ak TW:zh IE:ga NZ:mi FJ:fj IL:he LK:si MA:ar '
    'IQ:ar EG:ar ID:id MY:ms FI:fi ET:am PE:qu RS:sr KZ:kk US:en GB:en AU:en ES:es VE:es CL:es CO:es AR:es MX:es '
    'CU:es').split())
UNITS = ('duration-minute duration-hour duration-day duration-week duration-month duration-year length-kilometer '
         'length-meter mass-kilogram volume-liter temperature-celsius speed-kilometer-per-hour area-square-meter').split()
PERIODS = (('night1', 'night2', 'midnight'), ('morning1', 'morning2'), ('afternoon1', 'afternoon2', 'noon'),
           ('evening1', 'night1'))
PLURALS = {form: i for i, form in enumerate(('zero', 'one', 'two', 'few', 'many', 'other'))}


def world():
    "Facts that hold in every language: where a city lies, what is paid and spoken there, how a language is written"
    from babel.core import get_global
    from babel.languages import get_official_languages
    from babel.numbers import get_territory_currencies
    likely, countries, scripts = get_global('likely_subtags'), {}, {}
    for code, zone in CITIES.items():
        language = MAIN_LANGUAGE.get(code) or get_official_languages(code)[0]
        scripts[language] = likely[language].split('_')[1] if language in likely else 'Latn'
        continent = '142' if code == 'TR' else CONTINENT_OF_ZONE[zone.split('/')[0]]
        countries[code] = dict(continent=continent, currency=get_territory_currencies(code)[0], language=language)
    return dict(countries=countries, scripts=scripts)


def plain(table):
    "A plain dictionary of one level of Babel's tables, keys as text, without what is no text"
    return {str(key): value for key, value in dict(table.items()).items() if isinstance(value, str)}


def variants(*names):
    "Names without repetition, the standard one first"
    return list(dict.fromkeys(name for name in names if name))


def names(locale, data, facts):
    "Everything that has a name, by field and value: the standard name first, an abbreviation second"
    currencies = sorted({country['currency'] for country in facts['countries'].values()})
    zones, days, months = data['time_zones'], locale.days, locale.months

    def city(zone):
        "CLDR's exemplar city of a time zone; the zone's own name where CLDR has none"
        try:
            return zones[zone].get('city') or zone.split('/')[-1].replace('_', ' ')
        except KeyError:
            return zone.split('/')[-1].replace('_', ' ')

    def period(candidates, half):
        "The name of a part of the day; before and after noon where the locale has no finer one"
        for context in ('stand-alone', 'format'):
            for candidate in candidates:
                try:
                    return locale.day_periods[context]['wide'][candidate]
                except KeyError:
                    pass
        try:
            return locale.day_periods['format']['wide'][half]
        except KeyError:
            return half.upper()

    def calendar(table, numbers):
        "Stand-alone names of months, weekdays or quarters, wide and abbreviated"
        return {str(n): variants(table['stand-alone']['wide'][n], table['stand-alone']['abbreviated'][n]) for n in numbers}
    return dict(
        country={c: variants(locale.territories[c]) for c in CITIES},
        continent={c: variants(locale.territories[c]) for c in ('150', '142', '002', '019', '009')},
        city={c: variants(city(zone)) for c, zone in CITIES.items()},
        language={c: variants(locale.languages.get(c, c)) for c in sorted(facts['scripts'])},
        script={c: variants(locale.scripts.get(c, c)) for c in sorted(set(facts['scripts'].values()))},
        currency={c: variants(locale.currencies.get(c, c)) for c in currencies},
        weekday=calendar(days, range(7)), month=calendar(months, range(1, 13)), quarter=calendar(locale.quarters, range(1, 5)),
        period={str(n): variants(period(c, 'am' if n < 2 else 'pm')) for n, c in enumerate(PERIODS)},
        unknown=dict(country=variants(locale.territories['ZZ']), language=variants(locale.languages['und']),
                     script=variants(locale.scripts['Zzzz']), currency=variants(locale.currencies['XXX'])))


def pattern(tokens):
    "A date pattern as a list of text and of [letter, width] pairs"
    return [value if kind == 'chars' else list(value) for kind, value in tokens]


def patterns(locale, data, facts):
    "Everything that has slots: dates, amounts, money, relative times, lists, intervals, plural rules"
    from babel.dates import tokenize_pattern
    skeletons = locale.datetime_skeletons
    skeleton = next(s for s in ('MMMMd', 'MMMd') if s in skeletons)
    units = {}
    for unit in UNITS:
        table = data['unit_patterns'].get(unit, {})
        styles = (plain(table[style]) for style in ('long', 'short') if style in table)
        units[unit] = [style for style in styles if 'other' in style] or [{'other': '{0} ' + unit.split('-')[-1][0]}]
    currencies = sorted({country['currency'] for country in facts['countries'].values()})
    return dict(
        date=[pattern(tokenize_pattern(locale.date_formats[width].pattern)) for width in ('full', 'long', 'medium')],
        month_day=pattern(tokenize_pattern(skeletons[skeleton].pattern)),
        format_names=dict(month={w: plain(locale.months['format'][w]) for w in ('wide', 'abbreviated')},
                          weekday={w: plain(locale.days['format'][w]) for w in ('wide', 'abbreviated')}),
        era=locale.eras['abbreviated'].get(1, 'AD'), units=units,
        relative={unit: {way: plain(data['date_fields'][unit][way]) for way in ('future', 'past')}
                  for unit in ('hour', 'day', 'week', 'month', 'year')},
        money=dict(names={c: plain(data['currency_names_plural'].get(c, {})) for c in currencies},
                   patterns=plain(data['currency_unit_patterns'])),
        lists={kind: plain(data['list_patterns'][name]) for kind, name in (('and', 'standard'), ('or', 'or'))},
        interval=locale.interval_formats.get(None) or '{0} – {1}',
        plural=''.join(str(PLURALS[locale.plural_form(n)]) for n in range(0, 101)))


def extract(code):
    "The tables of one language; Tagalog is called Filipino in CLDR"
    from babel import Locale
    locale = Locale.parse('fil' if code == 'tl' else code)
    facts = world()
    return dict(names=names(locale, locale._data, facts), patterns=patterns(locale, locale._data, facts))


def main():
    "Read every locale in a fresh process and write the tables"
    from babel import __version__
    from babel.core import get_cldr_version
    tables = dict(babel=__version__, cldr=get_cldr_version(), world=world(), languages={})
    for code in LANGUAGES:
        command = [sys.executable, __file__, code]
        tables['languages'][code] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    text = json.dumps(tables, ensure_ascii=False, separators=(',', ':'), sort_keys=True)
    text = re.sub('[\xa0\u2009\u202f]', ' ', re.sub('[\u200e\u200f\u061c]', '', text))  # plain spaces, no direction marks
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / 'cldr.json.gz').write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print('Babel', tables['babel'], 'CLDR', tables['cldr'], len(LANGUAGES), 'languages',
          (FOLDER / 'cldr.json.gz').stat().st_size, 'bytes')


if __name__ == '__main__':
    if len(sys.argv) > 1:
        sys.stdout.buffer.write(json.dumps(extract(sys.argv[1]), ensure_ascii=False).encode())
    else:
        main()
