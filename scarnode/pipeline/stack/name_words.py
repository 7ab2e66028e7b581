"""The words of late enhancement, of the other methods and of the planes, in thirteen languages, as regular expressions.

They are the defaults of `Rules`. They are searched in a name as `names.forms` writes it: no accents on Latin letters,
so that one pattern serves ``précoce`` and ``precoce``; for a German umlaut allow ``u`` and ``ue``. Sources of words,
and those not seen in real names: docs/recognition.md. The match is written to the log and the ledger, so a pattern
matches words of the method only; what must stand elsewhere in the name goes into a lookahead.
"""

from __future__ import annotations

_START, _END = r"(?<![^\W\d_])", r"(?![^\W\d_])"
"""Borders of a word: no letter beside it. A digit is none: ``15min``, ``SA2``."""


def _parts(*alternatives: str) -> str:
    """Match anywhere, inside words too: for scripts that write no blanks, and for what is unmistakable."""
    return f"(?:{'|'.join(alternatives)})"


def _begin(*alternatives: str) -> str:
    """Match where a word begins."""
    return _START + _parts(*alternatives)


def _words(*alternatives: str) -> str:
    """Match whole words."""
    return _START + _parts(*alternatives) + _END


# --- late enhancement ------------------------------------------------------------------------------------------------

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
    r"(post|after|nach|apres) ?(gad|gd|contrast|km)(?=.* ir\b)",
    r"\bir\b(?=.* (post|after|nach|apres) ?(gad|gd|contrast|km))",
    # French, Spanish, Portuguese, Italian
    r"tardi(fs?|ves?|v[oai]|[oa]s?)\b",
    _begin(
        "rehaussement tard", "hiperrealce", "ritardat[oa]", "vitalit", "rtg" + _END, "retard(ee?s?|ad[oa]s?|o)" + _END
    ),
    # German, Dutch
    "spae?t(aufn|anreich|enh)",
    _begin("spae?t ?(aufn|anreich|enh|phase|serie|bild|km|kontrast|gad|sequenz|mess)", "spae?t(e[rsnm]?)?" + _END),
    _begin("verzoe?gert", "narben?" + _END, "narbendarst", "narbenbild"),
    _begin("cicatri[zc]", "blizn", "рубц", "рубец"),
    r"aankleuring (laat|late|vertraagd)",
    r"(laat|laattijdige?|late?|vertraagde?) ?(aankleuring|aankleur|versterking|fase|opname)|\blitteken|\blaat(?![a-z])",
    # Polish, Turkish, Russian
    _begin(r"(pozn|opozn)\w* (wzmoc|kontr|faz|gadol|obraz|akwiz)", "zywotnos"),
    _begin(
        r"(wzmocnien|kontrast)\w* (pozn|opozn)", "kontrastlanma gec", r"(контраст|усилен|накоплен)\w* (поздн|отлож)"
    ),
    _begin("(gec|gecikmis) ?(kontrast|gadol|faz|tutul|enh|boyan|goruntu)", "canlilik"),
    _begin("отсроч", r"(поздн|отложен|отдален)\w* (контраст|усилен|накоплен|гадолин|фаз)", "жизнеспособн"),
    # Japanese, Chinese, Korean
    _parts("遅延", "(晩期|後期) ?(造影|相|増強)", "バイア?ビリティ", "レイト ?エンハンス", "ディレイ"),
    _parts(
        "延[迟遲](?!触发|觸發|时间|時間)",
        "(晚期|迟发|遲發|延时|延時) ?期? ?(心肌)? ?(钆|釓|gd|[强強]化|增[强強]|扫描|掃描)",
    ),
    _parts("心肌 ?(活性|活力|存活)", "存活 ?心肌", "瘢痕", "반흔"),
    _parts("지연(?! ?시간)", "(후기|만기) ?기? ?(조영|증강|강조|영상|가돌리늄)", "생존 ?(능|력)"),
)
LATE_WEAK = (r"\bde\b", r"\ble\b", r"\b(late|delayed)\b")

# --- what is refused even beside a word of late enhancement ----------------------------------------------------------

_INVERSION = "(lge|psir|mde|(?<![a-z])(de|ir)(?![a-z]))"
DARK_BLOOD = (
    r"(dark|black|blk|gr[ae]y|nulled) ?blood|blood ?(dark|black|null|supp)",
    r"(?<![a-z])(db|bb)(?![a-z])",
    r"(?<![a-z])j?(db|bb) ?(lge|psir|de|mde|ir)(?![a-z])|(lge|psir|mde) ?(db|bb)(?![a-z])",
    r"(lge|psir) ?gb(?![a-z])|(?<![a-z])gb ?(lge|psir)|\bfiddle\b|(?<![a-z])dark(?![a-z])(?! rim)",
    r"\b[dq]ir\b|\b(double|triple|quad|quadruple) ?(ir|inversion)\b",
    # a preparation that nulls the blood, in either order
    rf"(?<![a-z])(t2|mt|t1rho) ?prep(?=.*{_INVERSION})|{_INVERSION}(?=.*(?<![a-z])(t2|mt|t1rho) ?prep)",
    # German, Dutch
    r"(schwarz|dunk[el]l?)\w* ?blut|blut ?(schwarz|dunkel|null|unterdr)",
    r"(zwart|donker)\w* ?bloed|bloed (zwart|donker)",
    # French, Spanish, Portuguese, Italian
    r"sang (noir|sombre|gris|fonce)|sangre (negra|obscura|oscura|gris)",
    r"sangue (negro|preto|escuro|cinza|nero|scuro|grigio)",
    # Polish, Turkish, Russian
    r"(czarn|ciemn)\w* (krew|krwi)|(krew|krwi) (czarn|ciemn)",
    _words("(kara|siyah|koyu|karanlik) ?kan(li)?"),
    r"(черн|темн)\w* ?кров|кров\w* (черн|темн)",
    # Japanese, Chinese, Korean
    _parts("(ブラック|ダーク) ?ブラッド", "[黒黑暗] ?血", "血(液|池) ?(信号)? ?抑制"),
    _parts("흑 ?색? ?혈", "암 ?혈", "(블랙|다크) ?블러드", "(검은|어두운) ?혈액"),
)
_AFTER = "(post|after|following|nach|apres|tras|despues del?|apos|depois d[aeo]|depois|despues|dopo|pos|na|po|после)"
EARLY = (
    r"(?<!n)(?<!y)(?<!cl)(?<!p)early(?! ?(dia|sys)stol)|\bege\b",
    # so soon after the contrast agent nothing is late
    r"(?<!\d)(?<!\b\d )(?<!\b\d\d )[1-4]( [1-5])? ?(min|minutes?|mn|minut[eoya]?n?|dk|dakika|мин\w*|分|분)(?![a-zа-я])",
    rf"(?<!\d)\d{{1,3}} ?(s|sec|secs|seconds?|sek|сек) {_AFTER}{_END}",
    _begin(
        "(immediate(ly)?|direct(ly)?|right|just|shortly|sofort|unmittelbar|direkt|gleich|kurz|juste|aussitot|justo|logo|subito"
        f"|appena|meteen|vlak|zaraz|tuz|сразу|немедленно) {_AFTER}{_END}",
        "i[nm]?mediat[oae]",
        "hemen sonra",
    ),
    "frue?h(aufn|anreich|enh)",
    _begin("fr(ue?| )h ?(aufn|enh|anreich|phase|serie|bild|km|kontrast|gad|sequenz|mess)", "frue?h(e[rsnm]?)?" + _END),
    _begin("precoc", "precoz", "tempran", "wczesn", "ранн", "erken" + _END, "vroeg"),
    _parts("早期", "初期", "即刻", "即时", "立即", "直後", "アーリー", "조기", "초기", "직후"),
)
_AGENT = (
    r"(contrast\w*|gad\w*|gd|gbca|km|kontrast\w*|kontr|kc|mdc|pdc|cm|agent|in[jy]\w*|iniez\w*|iniek\w*|bolus|iv|civ|ce"
    r"|produit|meio|mezzo|medio|srodk\w*|podani\w*)"
)
_SMALL = r"(the|der|dem|die|das|de|del|dell|della|do|da|di|du|d|het|l|la|le|il|el|al|a|о|iv)"
BEFORE_CONTRAST = (
    _begin(
        "nativ(?!e? ?(res|space))", "natie?f", "natywn", "натив", "blanco" + _END, "non injecte", "fase simple" + _END
    ),
    _words(
        "unenh(anced)?",
        "precont?",
        "uncontrasted",
        "non ?enhanced",
        "noncon",
        "contrast ?free",
        "(km|kontrastmittel) ?frei",
    ),
    _begin(
        "(pre|prae?|prior to|before|without|w ?o|no|non|vor|ohne|voor|zonder|avant?|av|sans|antes|previo|previa|sin|sem"
        rf"|prima|senza|ante|przed|bez) ?({_SMALL} )?({_SMALL} )?{_AGENT}{_END}"
    ),
    _begin("s (contrast|gad|civ)"),
    # "pre" alone, but not before what is no contrast agent
    _words(
        "pre(?! ?(op|cabg|pci|tav|tmvr|mitra|valv|abl|crt|icd|implant|surg|interv|proc|treat|therap|chemo|rx|tx|transpl"
        "|biops|disch|dial|exerc|dobut|adeno|rega|puls|scan|sat|norm|perf|stress|vac|covid|ll))"
    ),
    # both, in one name
    _words(
        "(pre|before|vor|voor|avant|antes|prima|przed|до) (and|und|en|et|y|e|i|и)"
        " (post|after|nach|na|apres|despues|depois|dopo|po|после)"
    ),
    # Turkish, Russian
    _begin(r"(kontrast\w*|gad\w*|gd|km|ilac|enjeksiyon) ?(madde\w* )?(oncesi|once)", "kontrastsiz", "ilacsiz"),
    _begin(
        rf"(до|без|перед|пре|бес) ?(в в |внутривен\w* )?(введен|контраст|гадолин|инъекц|(кв|ку|кс|gd){_END})",
        "доконтраст",
    ),
    # Japanese, Chinese, Korean; but not the anterior wall
    _parts(
        "(造影|投与|注入|コントラスト) ?(剤|増強)? ?(投与|注入)? ?前(?!壁|側|方)",
        "造影 ?(なし|無し)",
        "単純",
        "ネイティブ",
        r"プレ ?(造影|コントラスト|$|(?= ))",
    ),
    _parts(
        "(增[强強]|[强強]化|造影|[对對]比|[注打给][药藥]|注射|[显顯]影|钆) ?[剂劑]? ?(注射|注入)? ?前(?![壁侧側间間])",
        "平 ?[扫掃]",
        "[未非无無不] ?(增[强強]|[强強]化|造影|对比|對比|打药)",
        "初始",
    ),
    _parts(
        "(조영|투여|주입|주사) ?(제|증강)? ?(투여|주입|주사)? ?이?전(?!체|벽|방)",
        "[비무] ?조영",
        "네이티브",
        "프리 ?(조영|컨트)",
    ),
)
AFTER_CONTRAST = (
    _begin(rf"{_AFTER} ({_SMALL} )?{_AGENT}{_END}", "после ?(введен|контраст|гадолин)"),
    _begin(r"(kontrast|gad)\w* ?(madde\w* )?sonra"),
    _parts("造影 ?剤? ?後", "(增[强強]|造影|注[药藥]) ?[后後]", "조영 ?제? ?후", "前 ?[后後]", "전 ?후"),
    r"(?<!\d)([5-9]|[1-3]\d) ?(min|mn|dk|мин|分|분)",
)

# --- other methods ---------------------------------------------------------------------------------------------------

TI_SCOUT = (
    r"look ?locker|tiscout",
    _begin(
        "ti ?(scout|sct|test|find|search|such|bestimm|ermittl|reihe|bepaling|zoek|belirle|arama|secim|dobor|locali)",
        "scout ti" + _END,
        "inversion ?time ?(scout|finder|test)",
        "multi ?ti" + _END,
    ),
    _words(
        "(recherche|choix|reglage|test|determination|mesure|busqueda|prueba|seleccion|determinacion|busca|teste|escolha"
        "|selecao|determinacao|ricerca|scelta|prova|determinazione|suche|bestimmung|wybor|dobor|szukanie|wyznaczanie)"
        " ((d[eu]l?|do|di|des|der|d) )?ti"
    ),
    _begin("лук ?локер", "ti ?(скаут|тест|подбор|поиск)", r"(подбор|поиск|выбор|определ\w*) (ti|ти|врем\w* инверс)"),
    _parts("ti ?値? ?(スカウト|設定|決め|決定|測定|探索|サーチ|テスト)", "ルック ?ロッカー"),
    _parts("ti ?[值値]? ?(测试|測試|定位|搜索|选择|選擇|确定|確定|预扫|預掃|侦察)", "反转时间 ?(测|选|确)"),
    _parts("ti ?(스카우트|찾기|측정|결정|설정|테스트|탐색)", "룩 ?로커"),
)
LOOK_LOCKER = (r"\bll\b", *TI_SCOUT)
SCOUT = (
    _words("loc", "survey", "plan(ning|ung)?", "topogram", "scanogram", "pilot"),
    r"lo[ck]ali[sz]|scout(?!less|frei)",
    _begin("reperage", "ue?bersicht", "planung", "planowan", "planlama", "kilavuz"),
    _begin("локали", "локала[йи]", "разведк", "скаут", "топограмм", "обзорн", "разметк", "планирован"),
    _parts("位置決め", "[ローカ]+ライ[ザズ]", "スカウト", "サーベイ", "プランニング", "定位", "侦察", "偵察", "三平面"),
    _parts("스카우트", "로[컬칼]라이저", "위치 ?(결정|잡기|확인)", "서베이"),
)
MAPPING = (
    r"molli|\bsasha\b|\becv\b",
    r"\b[tт][12] ?(star|s|rho|w)? ?map",
    _words("map(s|ping|pings|as?|y|pe|pa|paggio)?", "mapeo", "mapeamento", "mapowani[ea]", "t[12] ?karten?"),
    _begin("kartier", "cartograph", "harita", "картир", "карт[аы]" + _END, "м[аэ]ппинг"),
    _parts("マッピング", "マップ", "定量", "图谱", "圖譜", "映射", "맵", "매핑", "지도화"),
)
CINE = (
    r"(?<![a-z])cine|(?<!medi)(?<!vac)cine(?![a-z])",
    _words("kine", "kino", "sine", "kine ?mrt?"),
    _begin("кино", "кине" + _END, "сине" + _END),
    _parts("シネ(?!マ)", "电影", "電影", "시네(?!마)"),
)
PERFUSION = (
    r"(?<![a-z])perf(?!e[ck]t|or)|perfus|\b(first|1st) ?pass\b|\b(stress|rest) dyn",
    _begin("(premier|1er) passage", "primer paso", "primeira passagem", "primo passaggio", r"pierwsz\w+ przejsci"),
    _begin("ilk gecis", "durchblutung", "doorbloeding", "перфуз", r"перв\w+ прохожд"),
    _parts("パーフュ", "灌流", "初回循環", "ファースト ?パス", "灌注", "首[过過]", "관류", "퍼퓨전", "(첫|일차) ?통과"),
)
EDEMA = (
    r"\bstir\b|\btirm\b|o?edema\b|\b[tт]2 ?w(i|i fs)?\b",
    _begin("o?edeem", "o?edem", "oe?dem", "obrzek", "отек"),
    _parts("浮腫", "水腫", "水肿", "부종", "t2 ?(強調|加权|加權|压脂|壓脂|강조)", "脂肪抑制 ?t2"),
)
OTHER_METHOD = (
    r"\bvenc|\b(phase ?contrast|(4d ?)?flow|tagging|tagged|mip|dwi|adc|mra|haste|strain|velocity|spamm)\b",
    _begin("subtra[ck]t", "sustrac", "angio", "anjiyo", "ангио"),
    _words("flux", "flujo", "fluxo", "flusso", r"fluss\w*", r"stroom\w*", "stroming", r"przeplyw\w*", r"aki[ms]\w*"),
    _begin("кровоток", "поток", r"фазов\w* ?контраст", "фазоконтраст", "тегг?инг", "вычитан", "субтракц"),
    _parts("フロー", "タギング", "アンギオ", "差分", "サブトラク", "血流", "流速", "流量", "血管"),
    _parts("(位相|相位) ?(コントラスト|对比|對比)", "[减減]影", "冠[脉脈]", "弥散", "彌散"),
    _parts("혈류", "유속", "위상 ?대조", "태깅", "혈관", "감산", "확산"),
)

# --- another method's word that says nothing, and one that says all --------------------------------------------------

_METHOD = (
    r"(perf\w*|stress\w*|cine\w*|kine|kino|molli|t[12] ?map\w*|map\w*|flow\w*|fluss\w*|ege|ti ?scout\w*|scout\w*"
    r"|look ?locker|stir|first ?pass|premier passage|перфуз\w*|стресс\w*|кино|картир\w*)"
)
_METHOD_DENSE = "(パーフュージョン|灌流|負荷|シネ|灌注|电影|電影|首[过過]|관류|시네|스트레스)"
_BETWEEN = rf"( ({_SMALL}|o|las|native?|t1|stress|rest|belastung|adenosin\w*|regadenoson|стресс))*"
_OFF = r"(early|mip|dark ?blood|black ?blood|db|bb|subtract\w*|tag\w*|re ?flow|flow|map\w*|cine|perf\w*|scout)"
_ACCORDING = (
    r"(from|by|per|via|as|like|see|on|of|to|according to|acc\w*( to)?|based on|aus|laut|wie|nach|auf|vo[mn]|gemae?ss"
    r"|selon|depuis|d apres|sur|comme|segun|desde|sobre|como|conforme|secondo|dal?|su|come|volgens|uit|op|zoals"
    r"|wg|wedlug|z|na|jak|из|по|как|согласно)"
)
HARMLESS = (
    # planned on cine
    rf"{_START}plan(ning|ned)? (from|on|of|off|aus|auf|an|nach|sur|sobre|su|op|na|по)( {_SMALL})?( {_METHOD})?{_END}",
    # after perfusion
    rf"{_START}{_AFTER}{_BETWEEN} {_METHOD}{_END}",
    r"(perfuzyon|stres|sine)\w* sonra\w*",
    f"({_METHOD_DENSE} ?)+(検査|扫描|검사)? ?[后後후]",
    # no MIP, MIP off
    rf"{_START}(no|non|not|without|w ?o|ohne|kein\w*|sans|pas de|sin|sem|senza|zonder|geen|bez|без) {_OFF}{_END}",
    rf"{_START}{_OFF} ?(off|aus|uit|wyl\w*|no|non|none|выкл\w*|kapali){_END}",
    # TI from TI scout, same as cine, cine matched
    rf"{_START}ti ({_ACCORDING}|d[aeo]l?|du) ({_SMALL} )?({_METHOD}|ll( ?scout)?){_END}",
    rf"{_START}{_ACCORDING} ({_SMALL} )?(ti ?(scout\w*|such\w*|bestimm\w*|test)|look ?locker|cine|locali\w*){_END}",
    rf"{_START}(cine|scout) (matched|position\w*|geometry|copy){_END}",
    rf"{_START}ti ?scout ?(done|ok|used|\d{{3}})",
    r"([根按]据?[據照]?|参照|參照|同) ?(ti ?scout|ti ?定位|电影|電影|定位像?)",
    r"(ti ?(スカウト|scout)|シネ) ?(より|から|参照|(に|と)(合わせ|同)\w*)|시네 ?와? ?(동일|같은)",
    # flow compensation, no reflow
    r"flow ?(comp|indep)\w*|re ?flow|fluss ?komp\w*|compens\w* (de |del |du |do )?(flux|flujo|fluxo|flusso)",
    # a plane, a place, normalisation
    rf"{_START}plan[eo]? (petit|grand|court|long|axe|sax?|pa|axial|corto|curto|de coupe|\d){_END}",
    rf"{_START}(loc|location) ?\d+",
    rf"{_START}pre ?scan ?(norm\w*)?",
)
_LATE_SHORT = r"(lge|psir|mde|late enh\w*|de|spae?taufn\w*|viab\w*|rehaussement tardif|realce tardio)"
_SCOUT_SHORT = r"(scouts?(?![a-z])|lo[ck]ali[sz]\w*|survey|reperage|定位像?|位置決め|スカウト|서베이|스카우트)"
DECISIVE = (
    *TI_SCOUT,
    # nothing else than a scout for late enhancement
    rf"^{_LATE_SHORT} {_SCOUT_SHORT}[ \d]*$|^{_SCOUT_SHORT} ((for|fue?r|pour|para|per|voor) )?{_LATE_SHORT}[ \d]*$",
    # a map after late enhancement
    rf"{_START}{_AFTER} {_LATE_SHORT}{_END}|после (lge|отсроч\w*)",
    _parts("遅延造影 ?後", "延[迟遲] ?([强強]化|增[强強]) ?[后後]", "지연 ?조영 ?(증강)? ?후"),
)

# --- planes ----------------------------------------------------------------------------------------------------------

SHORT_AXIS = (
    r"\b(sa|sax|short ?ax(is|e)?)(?![a-z])",
    r"\w(sax)\b",
    r"petit axe|eje corto|eixo curto|asse corto|kurz(e )?achse|kurzachs|korte as\b",
    r"os krotka|krotk\w+ os\b|kisa (aks|eksen)|коротк\w+ ос[ьи]",
    _parts("短 ?[軸轴]", "단축"),
)
LONG_AXIS = (
    r"\b[234] ?(ch|cv|chamber|kammer|cavit\w*|camar\w*|camere|kamer\w*|jam\w*|bosluk)(?![a-z])",
    r"\b(lax|hla|vla|lvot|rvot)\b",
    r"\blong ?ax(is|e)?\b|grand axe|eje largo|eixo longo|asse lungo|lange? achse|lange as\b",
    r"dlug\w+ os\b|uzun (aks|eksen)|длинн\w+ ос[ьи]|[234] ?х? ?камер",
    _parts("長 ?軸", "长 ?轴", "[二三四两兩] ?腔", "장축", r"[234] ?방\b"),
)
