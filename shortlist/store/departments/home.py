"""Facts of furniture, of bed and bath, and of the office."""

from shortlist.store.facts import Department
from shortlist.store.facts import product_type as make

FURNITURE = Department(
    "Furniture",
    ("Brakmoor", "Tellowen", "Ostrevik", "Harnwick", "Sablefen", "Quillgate"),
    (
        make(
            "sofa",
            "couch/settee",
            facets="colour; seats: 2/3/4 seats; material: velvet/leather/linen",
            price=340.0,
            says="Deep seat with loose cushions/Low back and slim arms/Sprung base for long evenings",
        ),
        make(
            "armchair",
            "recliner",
            facets="colour; material: velvet/leather/wool; feature: adjustable/washable",
            price=160.0,
            says="High back for reading/Wide arms and a soft seat/Turns on a round base",
        ),
        make(
            "wardrobe",
            "armoire/closet",
            facets="colour; width: 100/150/200 cm; feature: lockable/adjustable",
            price=210.0,
            says="Hanging rail and two shelves/Soft-close doors for coats/Inside mirror and tie rack",
        ),
        make(
            "chest of drawers",
            "dresser",
            plural="chests of drawers",
            price=120.0,
            facets="colour; width: 60/80/120 cm; material: wooden/bamboo",
            says="Runners that never stick/Keeps shirts and scarves flat/Dovetailed fronts, slim handles",
        ),
        make(
            "bookcase",
            "bookshelf",
            facets="colour; height: 80/120/180 cm; material: wooden/bamboo/steel",
            price=75.0,
            says="Five boards for novels and albums/Open back, fixes to the wall/Holds paperbacks two deep",
        ),
        make(
            "bedside table",
            "nightstand",
            facets="colour; height: 40/50/60 cm; material: wooden/bamboo/steel",
            price=55.0,
            says="One drawer for night reading/Room for a lamp and an alarm clock/Stands close to the bed",
        ),
        make(
            "footstool",
            "ottoman",
            facets="colour; material: velvet/leather/cotton; width: 40/50/60 cm",
            price=45.0,
            says="Rest your legs after work/Lid lifts for storage/Round and softly filled",
        ),
        make(
            "desk",
            "workstation",
            facets="colour; width: 100/120/150 cm; feature: adjustable/folding",
            price=130.0,
            says="Cable tray below the top/Space for papers and a screen arm/Sturdy legs for home working",
        ),
        make(
            "mattress",
            facets="bed: single/double/king; feature: washable/heavy duty; height: 20/24/28 cm",
            price=180.0,
            says="Pocket springs in seven zones/Cool foam that keeps its shape/Firm edge, soft core",
        ),
    ),
)

BED_AND_BATH = Department(
    "Bed and bath",
    ("Sablefen", "Lumewyn", "Dovrika", "Marlquist", "Hesperly", "Brannoch"),
    (
        make(
            "duvet",
            "comforter/quilt",
            price=48.0,
            facets="bed: single/double/king; material: cotton/wool/polyester; feature: washable/lightweight",
            says="Warm nights without weight/Stitched squares hold the filling/For all four seasons",
        ),
        make(
            "pillow",
            price=18.0,
            facets="size: small/medium/large; material: cotton/polyester/wool; feature: washable/adjustable",
            says="Supports neck and shoulders/Plump filling, piped edge/For side sleepers",
        ),
        make(
            "towel",
            facets="colour; width: 50/80/100 cm; material: cotton/bamboo/linen",
            price=9.0,
            says="Thick loops drink up drops/Soft after every wash/Hanging loop at one end",
        ),
        make(
            "bathrobe",
            "dressing gown",
            price=39.0,
            facets="colour; size: small/medium/large; material: cotton/wool; wearer: women's/men's/kids",
            says="Wrap up after the shower/Two pockets and a belt/Shawl collar, long sleeves",
        ),
        make(
            "curtain",
            "drapes",
            facets="colour; length: 150/180/250 cm; material: velvet/linen/polyester",
            price=34.0,
            says="Keeps out morning sun/Hangs in even folds/Eyelets slide on any rail",
        ),
        make(
            "rug",
            "carpet",
            facets="colour; length: 120/180/250 cm; material: wool/cotton/polyester",
            price=65.0,
            says="Soft pile under bare feet/Woven border, no shedding/Warms a stone floor",
        ),
        make(
            "laundry basket",
            "hamper/clothes hamper",
            price=22.0,
            facets="colour; volume: 40/60/80 l; material: bamboo/plastic/cotton; feature: folding/stackable",
            says="Two handles, lifts out/Sorts shirts from socks/Lid hides the washing",
        ),
        make(
            "mixer tap",
            "faucet",
            facets="colour; height: 20/24/30 cm; material: steel/aluminium",
            price=58.0,
            coded=True,
            says="One lever for hot and cold/Spout swings to both sides/Saves half the flow",
        ),
        make(
            "washbasin",
            "sink",
            facets="colour; width: 40/50/60 cm; material: ceramic/glass/steel",
            price=72.0,
            coded=True,
            says="Sits on the counter/Deep bowl with an overflow/Fits the guest toilet",
        ),
    ),
)

OFFICE = Department(
    "Office",
    ("Quillgate", "Penhallix", "Stavrix", "Marlquist", "Inkerby", "Orlanth"),
    (
        make(
            "stapler",
            facets="colour; material: steel/plastic; feature: heavy duty/electric",
            price=8.0,
            says="Binds twenty pages/Loads from the front/Never jams halfway",
        ),
        make(
            "eraser",
            facets="pack: 2/5/10 pack; colour; size: small/large",
            price=2.0,
            says="Lifts pencil without a smear/Crumbs roll together/For drafts and sketches",
        ),
        make(
            "ballpoint pen",
            "inkpen/biro",
            facets="pack: 5/10/20 pack; colour; material: steel/plastic",
            price=4.0,
            says="Writes at once, never blots/Clip for the shirt pocket/Ink lasts three exams",
        ),
        make(
            "sticky tape",
            facets="pack: 2/5/10 pack; length: 10/20/50 m; feature: heavy duty/waterproof",
            price=3.0,
            says="Seals parcels/Tears by hand/Holds posters to the wall",
        ),
        make(
            "paper shredder",
            facets="colour; volume: 10/20/30 l; feature: quiet/heavy duty",
            price=65.0,
            coded=True,
            says="Turns letters into confetti/Eats staples and cards/Stops when the bin is full",
        ),
        make(
            "filing cabinet",
            facets="colour; height: 80/100/150 cm; feature: lockable/heavy duty",
            price=140.0,
            says="Hanging folders in four drawers/Keeps contracts in order/Rails pull right out",
        ),
        make(
            "waste bin",
            "trashcan/garbage pail",
            facets="colour; volume: 10/20/30/50 l; material: steel/plastic",
            price=14.0,
            says="Pedal lid, inner bucket/Hides its liner/For scraps beside the worktop",
        ),
        make(
            "whiteboard",
            facets="width: 60/100/150 cm; feature: folding/adjustable; material: steel/glass",
            price=45.0,
            says="Wipes clean after meetings/Pen tray along the frame/Takes magnets",
        ),
        make(
            "hole punch",
            plural="hole punches",
            facets="colour; material: steel/plastic; feature: heavy duty/lightweight",
            price=9.0,
            says="Two or four rings/Stop bar lines up the sheets/Chip tray opens below",
        ),
        make(
            "drawing pins",
            "pushpins/thumbtacks",
            facets="pack: 20/50/100 pack; colour; material: steel/plastic",
            price=2.0,
            plural="drawing pins",
            says="For cork and notice walls/Round heads, sharp points/Hold maps and memos",
        ),
    ),
)
