// Reads synonyms in Solr's format from the file named first with Lucene's own parser, and prints, for each line of
// standard input, what the analyzer makes of it: tokens separated by tabs.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import org.apache.lucene.analysis.*;
import org.apache.lucene.analysis.core.*;
import org.apache.lucene.analysis.synonym.*;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;

public class SolrSynonyms {
    public static void main(String[] arguments) throws Exception {
        SolrSynonymParser parser = new SolrSynonymParser(true, true, new WhitespaceAnalyzer());
        parser.parse(Files.newBufferedReader(Path.of(arguments[0]), StandardCharsets.UTF_8));
        SynonymMap map = parser.build();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            WhitespaceTokenizer words = new WhitespaceTokenizer();
            words.setReader(new StringReader(line));
            try (TokenStream tokens = new SynonymGraphFilter(words, map, false)) {
                CharTermAttribute term = tokens.addAttribute(CharTermAttribute.class);
                StringBuilder row = new StringBuilder();
                tokens.reset();
                while (tokens.incrementToken()) row.append(term.toString()).append('\t');
                out.append(row).append('\n');
            }
        }
        out.flush();
    }
}
