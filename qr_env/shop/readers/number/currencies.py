"""What stands beside a price, as regular expressions for lower-case text: names of currencies, and remarks on it."""

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
# Other names that shops print, the longer ones first.
_LONG_NAMES = "dollars|euros|euro|yuan"
_NAMES = (
    r"د\.إ|ر\.س|د\.ك|د\.ب|ج\.م|درهم|ريال|"
    "руб|грн|rmb|sfr|lei|บาท|dhs|ден|дин|din|kr|kč|kc|zł|zl|лв|rs|fr|ft|tl|rm|rp|dh|р|r|円|元|圓|원"
)
# Unicode's currency signs without those of a cent: 99¢ is no 99.
_SIGNS = "[$£-¥֏؋৲৳૱௹฿៛₠-⃀﷼﹩＄￡￥￦]"
CURRENCY = rf"(?:(?:[a-z]{{1,3}})?\$|{_SIGNS}|(?:{_LONG_NAMES}|{_CODES}|{_NAMES})\.?)"
THREE_DECIMALS = "bhd|iqd|jod|kwd|lyd|omr|tnd"  # their prices have three decimals: 1.250 KWD is 1.25
_TAX = (
    r"(?:incl?|ex(?:cl?)?|inkl|exkl|zzgl)\.? ?(?:vat|tax|taxes|gst|mwst|ust|tva|iva|btw|moms)|ttc|税込み?|税抜き?|税別"
)
_EACH = "each|(?:/|per|pro|je) ?(?:each|ea|stk|stck|stück|stueck|piece|pcs?|item|unit)"
REMARK = rf" ?[(（]?(?:{_TAX}|{_EACH})\.?[)）]?$"
_SAME = (
    *(("eur", "€ euro euros"), ("usd", "$ us$ dollars"), ("gbp", "£ ￡"), ("jpy", "¥ ￥ 円"), ("inr", "₹ rs")),
    *(("rub", "₽ руб р"), ("pln", "zł zl"), ("czk", "kč kc"), ("try", "₺ tl"), ("krw", "₩ ￦ 원"), ("uah", "₴ грн")),
    *(("chf", "sfr fr"), ("cny", "元 rmb yuan"), ("brl", "r$"), ("aud", "a$ au$"), ("cad", "c$ ca$"), ("thb", "฿ บาท")),
)
CODES = {name: code for code, names in _SAME for name in names.split()}
"""Name of a currency, lower case → its code in lower case."""
