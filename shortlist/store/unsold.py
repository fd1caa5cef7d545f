"""What shoppers ask for and this shop does not sell."""

UNSOLD = (
    "trampoline", "piano", "aquarium", "canoe", "snowboard", "telescope", "microscope", "violin", "electric guitar",
    "drum kit", "swimming pool", "sewing machine", "dog food", "cat litter", "horse saddle", "bird cage",
    "hamster wheel", "car tyres", "motor oil", "windscreen wipers", "roof box", "jump leads", "brake pads", "chainsaw",
    "concrete mixer", "welding mask", "lathe", "paving stones", "greenhouse", "garden gnome", "pond pump", "beehive",
    "compost", "tulip bulbs", "lipstick", "nail varnish", "false eyelashes", "hair dye", "reading glasses",
    "contact lenses", "hearing aid", "wheelchair", "vitamin tablets", "cough syrup", "chocolate", "olive oil",
    "ground coffee", "green tea", "red wine", "whisky", "wedding dress", "engagement ring", "wristwatch", "necklace",
    "ski boots", "cowboy hat", "swimsuit", "bow tie", "board game", "playing cards", "model railway", "kite", "yo-yo",
    "bouncy castle", "doll house", "concert tickets", "gift voucher", "road map", "cookbook", "crime novel", "calendar",
    "christmas tree", "candles", "picture frame", "wallpaper", "ceiling fan", "chandelier", "air conditioner",
    "wood stove", "bread machine", "ice cream maker", "deep fryer", "microwave", "dishwasher", "tumble dryer",
    "steam iron", "ironing board", "sandbags", "surfboard", "fishing rod", "golf clubs", "tennis racket",
    "boxing gloves", "basketball hoop", "pool table", "climbing rope", "scuba mask", "hockey stick", "game console",
    "graphics card", "smart watch", "drone", "fax machine", "server rack", "walkie talkies", "metal detector",
)  # fmt: skip
