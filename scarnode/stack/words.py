"""The words of late enhancement, of the other methods and of the planes, in thirteen languages, as regular expressions.

They are the defaults of `Rules`. They are searched in a name as `names.forms` writes it: no accents on Latin letters,
so that one pattern serves ``précoce`` and ``precoce``; for a German umlaut allow ``u`` and ``ue``. Where the words come
from, and which were only looked up: docs/recognition.md.
"""

from __future__ import annotations

_START, _END = r"(?<![^\W\d_])", r"(?![^\W\d_])"
"""Borders of a word: no letter beside it. A digit is none: ``15min``, ``SA2``."""


def _words(*alternatives: str) -> str:
    """Match whole words."""
    return f"{_START}(?:{'|'.join(alternatives)}){_END}"


def _begin(*alternatives: str) -> str:
    """Match what a word begins with."""
    return f"{_START}(?:{'|'.join(alternatives)})"


# --- late enhancement --------------------------------------------------------------------------------------------

LATE = (
    # English, and what all languages borrow
    r"(?<!bu)lge",
    r"psir",
    r"\b(ps|[23]d)? ?mde(?![a-z])",
    r"del(ay(ed)?)? ?(post|contrast|hyper|gad\w*)? ?enh|\bdelayed (contrast|gad)|\bdhe\b",
    _begin("viab", "scars?" + _END),
    r"hyper ?enh|phase ?sens",
    r"late ?(gad|gd|enh|contrast|phase|post)|(gad|gd|enhancement) late\b",
    r"\bde ?mri?\b|\bce ?mri viab",
    r"(post|after|nach|apres) ?(gad\w*|gd|contrast\w*|km) .*\bir\b|\bir\b.* (post|after|nach|apres) ?(gad|gd|contrast|km)",
    # French, Spanish, Portuguese, Italian
    r"tardi(fs?|ves?|v[oai]|[oa]s?)\b",
    _begin(
        r"retard(ee?s?|ad[oa]s?|o)" + _END, "ritardat[oa]", "rtg" + _END, "vitalit", "hiperrealce", "rehaussement tard"
    ),
    # German, Dutch
    _begin(r"spae?t ?(aufn|anreich|enh|phase|serie|bild|km|kontrast|gad|sequenz|mess)", r"spae?t(e[rsnm]?)?" + _END),
    _begin(r"verzoe?gert", "narben?" + _END, "narbendarst", "narbenbild"),
    r"(laat|laattijdige?|late?|vertraagde?) ?(aankleuring|aankleur|fase|opname)|\blitteken",
    # Polish, Turkish
    _begin(r"(pozn|opozn)\w* (wzmoc|kontr|faz|gadol|obraz|akwiz)", "zywotnos"),
    _begin(r"(gec|gecikmis|gec faz) ?(kontrast|gadol|faz|tutul|enh|boyan|goruntu)", "canlilik"),
    # Russian
    _begin(r"отсроч", r"(поздн|отложен|отдален)\w* (контраст|усилен|накоплен|гадолин|фаз)", "жизнеспособн"),
    # Japanese, Chinese, Korean
    r"遅延 ?(造影|相|濃染|増強|エンハンス|撮像)|(晩期|後期) ?(造影|相|増強)|バイア?ビリティ|レイト ?エンハンス|ディレイ",
    r"(延迟|延遲|晚期|迟发|遲發|延时|延時) ?期? ?(心肌)? ?(钆|釓|gd|强化|強化|增强|增強|显像|顯像|成像|造影|显影|顯影|扫描|掃描)",
    r"心肌 ?(活性|活力|存活)|存活 ?心肌",
    r"(지연|후기|만기) ?기? ?(조영|증강|강조|영상|가돌리늄)|생존 ?(능|력)",
)
LATE_WEAK = (r"\bde\b", r"\ble\b", r"\b(late|delayed)\b")

# --- what is refused even beside a word of late enhancement -------------------------------------------------------

DARK_BLOOD = (
    r"(dark|black|blk|gr[ae]y|nulled) ?blood|blood ?(dark|black|null|supp)",
    r"(?<![a-z])(db|bb)(?![a-z])|(?<![a-z])j?(db|bb) ?(lge|psir|de|mde|ir)(?![a-z])|(lge|psir|mde) ?(db|bb)(?![a-z])",
    r"(lge|psir) ?gb(?![a-z])|(?<![a-z])gb ?(lge|psir)|\bfiddle\b|(?<![a-z])dark(?![a-z])(?! rim)",
    r"(?<![a-z])(t2|mt|t1rho) ?prep.*(lge|psir|mde|(?<![a-z])(de|ir)(?![a-z]))"
    r"|(lge|psir|mde|(?<![a-z])(de|ir)(?![a-z])).*(?<![a-z])(t2|mt|t1rho) ?prep",
    r"(schwarz|dunk[el]l?)\w* ?blut|blut ?(schwarz|dunkel|null|unterdr)",
    r"sang (noir|sombre|gris|fonce)|sangre (negra|os?cura|gris)|sangue (negro|preto|escuro|cinza|nero|scuro|grigio)",
    r"(zwart|donker)\w* ?bloed|bloed (zwart|donker)",
    r"(czarn|ciemn)\w* (krew|krwi)|(krew|krwi) (czarn|ciemn)",
    _begin("(kara|siyah|koyu|karanlik) ?kan" + _END),
    r"(черн|темн)\w* ?кров|кров\w* (черн|темн)",
    r"(ブラック|ダーク) ?ブラッド|黒血|暗血|血液 ?(信号)? ?抑制",
    r"[黑暗] ?血|血(液|池) ?抑制",
    r"흑 ?혈|암 ?혈|(블랙|다크) ?블러드|(검은|어두운) ?혈액",
)
EARLY = (
    r"(?<!n)(?<!y)(?<!cl)(?<!p)early(?! ?(dia|sys)stol)|\bege\b|immediate(ly)? (post|after)",
    # so soon after the contrast agent it is no late enhancement
    r"(?<!\d)(?<!\d )[1-4] ?(min|minutes?|mn|minut[eoya]?n?|dk|dakika|мин\w*|分钟?|分鐘|분)(?![a-zа-я])",
    _begin(r"frue?h ?(aufn|enh|anreich|phase|serie|bild|km|kontrast|gad|sequenz|mess)", r"frue?h(e[rsnm]?)?" + _END),
    _begin(
        "precoc", "precoz", "tempran", r"i[nm]?mediat[oae]", "wczesn", "ранн", "немедленн", r"erken" + _END, "vroeg"
    ),
    r"早期|初期|即刻|即时|立即|直後|アーリー|조기|초기|직후",
)
_AGENT = r"(contrast\w*|gad\w*|gd|gbca|km|kontrast\w*|kontr|mdc|pdc|agent|inj\w*|bolus|iv|civ|ce)"
BEFORE_CONTRAST = (
    # English: native, pre-contrast, unenhanced; "pre" alone, unless it is said before what
    _words(r"nativ(e|e[rsnm]|[oa]s?|i|na|ny|ne)?(?! ?(res|space))", "natief", "natywn[aey]"),
    _begin(rf"(pre|prior to|before|without|w ?o|no|non|pra|prae) ?(the )?{_AGENT}{_END}"),
    _words(
        r"unenhanced|uncontrasted|non ?enhanced|noncon|contrast ?free|pre(?! ?(op|tavi|tavr|abl|crt|puls|scan|sat|norm|perf|stress|ll))"
    ),
    # German, Dutch
    _begin(
        rf"(vor|ohne|voor|zonder) ?(der |de |het |dem |iv )?{_AGENT}{_END}",
        "(km|kontrastmittel) ?frei",
        r"blanco" + _END,
    ),
    # French, Spanish, Portuguese, Italian
    _begin(
        r"(avant|sans|antes|previo|sin|sem|prima|senza|ante|pre) ?(d[eou]l?l?a?|al?|l|d)? ?(l )?"
        r"(contrast[eoi]?|gad\w*|gd|pdc|mdc|civ|produit|meio|mezzo|medio|in[jy]\w+|iniez\w+)" + _END,
        "non injecte",
        "fase simple" + _END,
    ),
    # both, in one name
    _words(
        r"(pre|before|vor|voor|avant|antes|prima|przed|до) (and|und|en|et|y|e|i|и) (post|after|nach|na|apres|despues|depois|dopo|po|после)"
    ),
    # Polish, Turkish, Russian
    _begin(r"(przed|bez) ?(podani\w+ )?(kontr\w*|srodk\w*|gad\w*|gd|kc|k)" + _END, "przed podaniem" + _END),
    _begin(
        r"(kontrast\w*|gad\w*|gd|km|ilac|enjeksiyon) ?(madde\w* )?(oncesi|once)",
        "kontrastsiz",
        "ilacsiz",
        "pre ?kontrast",
    ),
    _begin("натив", rf"(до|без|перед|пре|бес) ?(введен|контраст|гадолин|(кв|ку|кс|gd){_END})", "доконтраст"),
    # Japanese, Chinese, Korean; but not the anterior wall
    r"(造影|投与|注入|コントラスト) ?剤? ?(投与|注入)? ?前(?!壁|側|方)|非 ?造影|造影 ?(なし|無し)|単純|ネイティブ|プレ ?(造影|コントラスト)",
    r"(增强|增強|强化|強化|造影|对比|對比|注药|注藥|打药|给药|注射|显影|顯影|钆) ?[剂劑]? ?(注射|注入)? ?前(?!壁|侧|側|间|間)",
    r"平 ?[扫掃]|[未非无無不] ?(增强|增強|强化|強化|造影|对比|對比|打药)|初始",
    r"(조영|투여|주입|주사) ?(제)? ?(투여|주입|주사)? ?전(?!체|벽|방)|[비무] ?조영|네이티브",
)
AFTER_CONTRAST = (
    _begin(
        rf"(post|after|nach|na|apres|tras|apos|pos|dopo|po|despues de[l]?|depois d[eo]) ?(der |de |la |l |il )?{_AGENT}{_END}"
    ),
    r"после ?(введен|контраст|гадолин)|(kontrast|gad)\w* ?(madde\w* )?sonra|造影 ?剤?後|(增强|增強|造影|注药|注藥) ?[后後]|조영 ?제? ?후",
    r"(?<!\d)([5-9]|[1-3]\d) ?(min|mn|dk|мин|分|분)",
)

# --- other methods -------------------------------------------------------------------------------------------------

_TI_WORK = r"(scout\w*|sct|test\w*|finder|find\w*|search\w*|such\w*|bestimm\w*|ermittl\w*|reihe|bepaling|zoek\w*|belirle\w*|arama|secim\w*|dobor|locali\w*)"
TI_SCOUT = (
    r"look ?locker|tiscout",
    _begin(rf"ti ?{_TI_WORK}", r"scout ti" + _END, r"inversion ?time ?(scout|finder|test)", r"multi ?ti" + _END),
    _begin(
        r"(recherche|choix|reglage|test|determination|mesure|busqueda|prueba|seleccion|determinacion|busca|teste|escolha|selecao"
        r"|determinacao|ricerca|scelta|prova|determinazione|suche|bestimmung|wybor|dobor|szukanie|wyznacz\w*) (d[eu]l? |do |di |des |der |d )?ti"
        + _END
    ),
    r"лук ?локер|ti ?(скаут|тест|подбор|поиск)|(подбор|поиск|выбор|определ\w*) (ti|ти|врем\w* инверс)",
    r"ti ?(値 ?)?(スカウト|設定|決定|測定|探索|サーチ|テスト)|ルック ?ロッカー",
    r"ti ?[值値]? ?(测试|測試|定位|搜索|选择|選擇|确定|確定|预扫|預掃|侦察)|反转时间 ?(测|选|确)",
    r"ti ?(스카우트|찾기|측정|결정|설정|테스트|탐색)|룩 ?로커",
)
LOOK_LOCKER = (r"\bll\b", *TI_SCOUT)
SCOUT = (
    _words(r"loc", "survey", r"plan(ning|ung|ning scan)?", "topogram", "scanogram", "pilot"),
    r"lo[ck]ali[sz]|scout",
    _begin("reperage", "planung", "planowan", "planlama", "kilavuz"),
    r"^(?!.*(lge|psir|mde|late|spat|spaet|vital|enh|\bde\b)).*\bue?bersicht",
    _begin("локали", "локалай", "разведк", "скаут", "топограмм", "обзорн", "разметк", "планирован"),
    r"位置決め|[ロローカ]+ライ[ザズ]|スカウト|サーベイ|プランニング|定位|侦察|偵察|三平面|스카우트|로[컬칼]라이저|위치 ?(결정|잡기|확인)|서베이",
)
MAPPING = (
    r"molli|\bsasha\b|\becv\b",
    r"\b[tт][12] ?(star|s|rho|w)? ?map",
    _words(r"map(s|ping|pings|as?|y|pe|pa|paggio)?", "mapeo", "mapeamento", "mapowani[ea]", "t[12] ?karten?"),
    _begin("kartier", "cartograph", "harita", "картир", r"карт[аы]" + _END, "м[аэ]ппинг"),
    r"マッピング|マップ|定量|图谱|圖譜|映射|맵핑|매핑|맵|지도화",
)
CINE = (
    r"(?<![a-z])cine|(?<!medi)(?<!vac)cine(?![a-z])",
    _words("kine", "kino", "sine", "kine ?mrt?"),
    _begin("кино", "кине" + _END, "сине" + _END),
    r"シネ(?!マ)|电影|電影|시네(?!마)",
)
PERFUSION = (
    r"(?<![a-z])perf(?!e[ck]t|or)|perfus|\b(first|1st) ?pass\b|\b(stress|rest) dyn",
    _begin(
        r"(premier|1er) passage",
        "primer paso",
        "primeira passagem",
        "primo passaggio",
        r"pierwsz\w+ przejsci",
        "ilk gecis",
        "durchblutung",
        "doorbloeding",
        "перфуз",
        r"перв\w+ прохожд",
    ),
    r"パーフュ|灌流|初回循環|ファースト ?パス|灌注|首[过過]|관류|퍼퓨전|(첫|일차) ?통과",
)
EDEMA = (
    r"\bstir\b|\btirm\b|o?edema\b|\b[tт]2 ?w(i|i fs)?\b",
    _begin("o?edeem", "o?edem", "oe?dem", "obrzek", "отек"),
    r"浮腫|水腫|水肿|부종|t2 ?(強調|加权|加權|压脂|壓脂|강조)|脂肪抑制 ?t2",
)
OTHER_METHOD = (
    r"\bvenc|\b(phase ?contrast|flow|tagging|tagged|mip|subtract\w*|subtrakt\w*|sustrac\w*|dwi|adc|mra|haste|strain|velocity|spamm)\b",
    _begin("angio", "anjiyo", "ангио"),
    _words(r"flux|flujo|fluxo|flusso|fluss\w*|stroom\w*|stroming|przeplyw\w*|akim\w*|akis\w*"),
    _begin("кровоток", "поток", r"фазов\w* ?контраст", "фазоконтраст", "тегг?инг", "вычитан", "субтракц"),
    r"フロー|血流|流速|流量|(位相|相位) ?(コントラスト|对比|對比)|タギング|アンギオ|血管|差分|サブトラク|减影|減影|冠[脉脈]|弥散|彌散",
    r"혈류|유속|위상 ?대조|태깅|혈관|감산|확산",
)

# --- another method's word that says nothing, and one that says all ------------------------------------------------

_AFTER = r"(post|after|following|nach|apres|tras|despues del?|apos|depois d[aeo]|dopo|pos|na|po|после)"
_SMALL = r"( (the|a|o|native?|t1|la|le|l|las|il|der|de|het|stress|rest|belastung|adenosin\w*|regadenoson|стресс))*"
_METHOD = (
    r"(perf\w*|stress\w*|cine\w*|kine|kino|molli|t[12] ?map\w*|map\w*|flow\w*|fluss\w*|ege|ti ?scout\w*|scout\w*|look ?locker|stir"
    r"|first ?pass|premier passage|перфуз\w*|стресс\w*|кино|картир\w*)"
)
_OFF = r"(early|mip|dark ?blood|black ?blood|db|bb|subtract\w*|tag\w*|re ?flow|flow|map\w*|cine|perf\w*|scout)"
_ACCORDING = (
    r"(from|by|per|via|as|like|see|on|of|to|according to|acc\w*( to)?|based on|aus|laut|wie|nach|auf|von|gemae?ss|selon|depuis|d apres|sur"
    r"|comme|segun|desde|sobre|como|conforme|secondo|dal?|su|come|volgens|uit|op|zoals|wg|wedlug|z|na|jak|из|по|как|согласно)"
)
HARMLESS = (
    rf"{_START}{_AFTER}{_SMALL} {_METHOD}{_END}",
    r"(perfuzyon|stres|sine)\w* sonra\w*|(パーフュージョン|灌流|負荷|シネ|灌注|电影|電影|首过|관류|시네|스트레스) ?(検査|扫描|검사)? ?[後后후]",
    rf"{_START}(no|non|not|without|w ?o|ohne|kein\w*|sans|pas de|sin|sem|senza|zonder|geen|bez|без) {_OFF}{_END}",
    rf"{_START}{_OFF} ?(off|aus|uit|wyl\w*|no|non|none|выкл\w*|kapali){_END}",
    rf"{_START}ti ({_ACCORDING}|d[aeo]l?|du) (the |der |dem |die |la |le |il |del |een )?({_METHOD}|ll){_END}",
    rf"{_START}{_ACCORDING} (the |der |dem |die |la |le |il |del |een )?(ti ?(scout\w*|such\w*|bestimm\w*|test)|look ?locker|cine|locali\w*){_END}",
    r"(根据|根據|按照?|参照|參照|同) ?(ti ?scout|ti ?定位|电影|電影|定位像?)|(ti ?(スカウト|scout)|シネ) ?(より|から|参照|に合わせ\w*)",
    r"flow ?(comp\w*|indep\w*)|re ?flow|fluss ?(komp\w*)|compens\w* (de |del |du |do )?(flux|flujo|fluxo|flusso)",
    rf"{_START}plan(e|o)? (petit|grand|court|long|axe|sax?|pa|axial|corto|curto|de coupe|\d){_END}",
    rf"{_START}(loc|location) ?\d+",
    rf"{_START}pre ?scan ?(norm\w*)?",
    rf"{_START}ti ?scout ?(done|ok|used|\d{{3}})",
)
_LATE_SHORT = r"(lge|psir|mde|late enh\w*|de|spae?taufn\w*|viab\w*|rehaussement tardif|realce tardio)"
_SCOUT_SHORT = r"(scout\w*|lo[ck]ali[sz]\w*|survey|reperage|定位像?|位置決め|スカウト|서베이|스카우트)"
DECISIVE = (
    *TI_SCOUT,
    rf"{_START}{_LATE_SHORT} {_SCOUT_SHORT}|{_SCOUT_SHORT} (for |fue?r |pour |para |per |voor )?{_LATE_SHORT}{_END}",
    rf"{_START}{_AFTER} {_LATE_SHORT}{_END}|после (lge|отсроч\w*)|遅延造影 ?後|(延迟|延遲)(强化|強化|增强|增強) ?[后後]|지연 ?조영 ?(증강)? ?후",
)

# --- planes --------------------------------------------------------------------------------------------------------

SHORT_AXIS = (
    r"\b(sa|sax|short ?ax(is|e)?)(?![a-z])",
    r"\w(sax)\b",
    r"petit axe|eje corto|eixo curto|asse corto|kurz(e )?achse|kurzachs|korte as\b|os krotka|krotk\w+ os|kisa (aks|eksen)",
    r"коротк\w+ ос[ьи]|短 ?[軸轴]|단축",
)
LONG_AXIS = (
    r"\b[234] ?(ch|cv|chamber|kammer|cavit\w*|camar\w*|camere|kamer\w*|jam\w*|bosluk)(?![a-z])",
    r"\b(lax|hla|vla|lvot|rvot)\b",
    r"\blong ?ax(is|e)?\b|grand axe|eje largo|eixo longo|asse lungo|lange? achse|lange as\b|dlug\w+ os\b|uzun (aks|eksen)",
    r"длинн\w+ ос[ьи]|[234] ?х? ?камер|長 ?軸|长 ?轴|[二三四两兩] ?腔|장축|[234] ?방\b",
)
