"""Names of currencies beside a price, as a regular expression for lower-case text."""

from __future__ import annotations

# ISO 4217.
_CODES = (
    "aed|afn|all|amd|ang|aoa|ars|aud|awg|azn|bam|bbd|bdt|bgn|bhd|bif|bmd|bnd|bob|brl|bsd|btn|bwp|byn|bzd|cad|"
    "cdf|chf|clp|cny|cop|crc|cup|cve|czk|djf|dkk|dop|dzd|egp|ern|etb|eur|fjd|fkp|gbp|gel|ghs|gip|gmd|gnf|gtq|"
    "gyd|hkd|hnl|htg|huf|idr|ils|inr|iqd|irr|isk|jmd|jod|jpy|kes|kgs|khr|kmf|kpw|krw|kwd|kyd|kzt|lak|lbp|lkr|"
    "lrd|lsl|lyd|mad|mdl|mga|mkd|mmk|mnt|mop|mru|mur|mvr|mwk|mxn|myr|mzn|nad|ngn|nio|nok|npr|nzd|omr|pab|pen|"
    "pgk|php|pkr|pln|pyg|qar|ron|rsd|rub|rwf|sar|sbd|scr|sdg|sek|sgd|shp|sle|sos|srd|ssp|stn|svc|syp|szl|thb|"
    "tjs|tmt|tnd|top|try|ttd|twd|tzs|uah|ugx|usd|uyu|uzs|ves|vnd|vuv|wst|xaf|xcd|xof|xpf|yer|zar|zmw|zwg"
)
# Other names that shops print, the longer ones first; the class of currency signs covers "$" and "€".
_LONG_NAMES = "dollars|euros|euro|yuan"
_NAMES = "руб|грн|rmb|sfr|lei|บาท|dhs|ден|дин|din|kr|kč|kc|zł|zl|лв|rs|fr|ft|tl|rm|rp|dh|р|r|円|元|圓|원"
CURRENCY = rf"(?:(?:[a-z]{{1,3}})?\$|\p{{Sc}}|(?:{_LONG_NAMES}|{_CODES}|{_NAMES})\.?)"
THREE_DECIMALS = "bhd|iqd|jod|kwd|lyd|omr|tnd"  # their prices have three decimals: 1.250 KWD is 1.25
